// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.uber.org/zap"
)

// roadName says what is delivered.
type roadName int

const (
	forEvents roadName = iota
	forFacts
)

func (n roadName) String() string { return [...]string{"events", "facts"}[n] }

// health reports the component's status, and logs it, when it changes: a recoverable error that names the cause while
// credentials or address are at fault, OK once that is over for all that is delivered. Retries of one fault are one report.
type health struct {
	logger *zap.Logger

	mu    sync.Mutex
	host  component.Host
	cause [2]int // by roadName, the status that the backend answered with; 0 = well
}

func (h *health) start(host component.Host) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.host = host
}

// ill reports err unless the same cause, an HTTP status, was reported last. remedy tells the user what to do.
func (h *health) ill(of roadName, cause int, remedy string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cause[of] == cause {
		return
	}
	h.cause[of] = cause
	h.logger.Error("The backend takes no "+of.String()+"; keeping them and trying again", zap.Error(err), zap.String("remedy", remedy))
	componentstatus.ReportStatus(h.host, componentstatus.NewRecoverableErrorEvent(err))
}

func (h *health) well(of roadName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cause[of] == 0 {
		return
	}
	h.cause[of] = 0
	h.logger.Info("The backend takes " + of.String() + " again")
	if h.cause == [2]int{} {
		componentstatus.ReportStatus(h.host, componentstatus.NewEvent(componentstatus.StatusOK))
	}
}
