// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
)

// status combines the health of several runtimes into the one status of the component and reports changes.
type status struct {
	host component.Host

	mu       sync.Mutex
	faults   map[string]error // by runtime; "" is the detection of sockets
	reported string
}

func newStatus(host component.Host) *status {
	return &status{host: host, faults: map[string]error{}}
}

// set stores the health of a runtime. A nil error means that it is observed.
func (s *status) set(name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		delete(s.faults, name)
	} else {
		s.faults[name] = err
	}
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(s.faults)) {
		faults = append(faults, s.faults[name])
	}
	text := fmt.Sprint(faults)
	if text == s.reported || (len(faults) == 0 && s.reported == "") {
		return
	}
	s.reported = text
	if len(faults) == 0 {
		componentstatus.ReportStatus(s.host, componentstatus.NewEvent(componentstatus.StatusOK))
		return
	}
	componentstatus.ReportStatus(s.host, componentstatus.NewRecoverableErrorEvent(errors.Join(faults...)))
}
