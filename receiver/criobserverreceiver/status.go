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

// status turns the health of several runtimes into the one status of the component, and reports it when it changes.
type status struct {
	host component.Host

	mu     sync.Mutex
	faults map[string]error // by runtime; "" = detection
	told   string
}

func newStatus(host component.Host) *status {
	return &status{host: host, faults: map[string]error{}}
}

// set notes the health of a runtime; nil: it is well.
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
	if text == s.told || (len(faults) == 0 && s.told == "") {
		return
	}
	s.told = text
	if len(faults) == 0 {
		componentstatus.ReportStatus(s.host, componentstatus.NewEvent(componentstatus.StatusOK))
		return
	}
	componentstatus.ReportStatus(s.host, componentstatus.NewRecoverableErrorEvent(errors.Join(faults...)))
}
