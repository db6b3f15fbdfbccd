// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.uber.org/zap"
)

// laneName says what a lane delivers.
type laneName int

const (
	laneEvents laneName = iota
	laneFacts
)

func (n laneName) String() string { return [...]string{"events", "facts"}[n] }

// patience is for how long a backend may be unreachable or busy before the status reports it. Backends restart and connections
// break without anything for the user to do.
const patience = 10 * time.Second

// health reports the component's status, and logs it, when it changes: a recoverable error with its cause while credentials,
// certificates or address are wrong, or the backend has not answered for longer than patience, and OK once both lanes deliver
// again. Retries of one fault are one report.
type health struct {
	logger *zap.Logger

	mu    sync.Mutex
	host  component.Host
	cause [2]int       // by laneName: the reported HTTP status, or a negative cause; 0 = OK
	since [2]time.Time // by laneName: when deliveries began to fail; zero = the last one succeeded
}

func (h *health) start(host component.Host) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.host = host
}

// reportError reports err unless the same cause, an HTTP status or a negative number, was reported last. remedy says what the
// user can do.
func (h *health) reportError(of laneName, cause int, remedy string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cause[of] == cause {
		return
	}
	h.cause[of] = cause
	h.logger.Error("The backend does not accept "+of.String()+"; keeping them and retrying", zap.Error(err), zap.String("remedy", remedy))
	componentstatus.ReportStatus(h.host, componentstatus.NewRecoverableErrorEvent(fmt.Errorf("%w; %s", err, remedy)))
}

// reportErrorIfLasting reports err as reportError does, once deliveries have failed for longer than patience.
func (h *health) reportErrorIfLasting(of laneName, cause int, remedy string, err error) {
	h.mu.Lock()
	now := time.Now()
	if h.since[of].IsZero() {
		h.since[of] = now
	}
	lasts := now.Sub(h.since[of]) > patience
	h.mu.Unlock()
	if lasts {
		h.reportError(of, cause, remedy, err)
	}
}

func (h *health) reportOK(of laneName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.since[of] = time.Time{}
	if h.cause[of] == 0 {
		return
	}
	h.cause[of] = 0
	h.logger.Info("The backend accepts " + of.String() + " again")
	if h.cause == [2]int{} {
		componentstatus.ReportStatus(h.host, componentstatus.NewEvent(componentstatus.StatusOK))
	}
}
