// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"sync"
	"time"

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

// patience is for how long a backend may be away, or busy, before the status tells it. It restarts, and connections break, without
// anybody having to know.
const patience = 10 * time.Second

// health reports the component's status, and logs it, when it changes: a recoverable error that names the cause while credentials,
// certificates or address are at fault, or while there is no answer for a while, and OK once that is over for all that is
// delivered. Retries of one fault are one report.
type health struct {
	logger *zap.Logger

	mu    sync.Mutex
	host  component.Host
	cause [2]int       // by roadName, the status that the backend answered with; 0 = well
	since [2]time.Time // by roadName, when deliveries began to fail; zero = the last one did not
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

// failing reports err as ill does, once nothing has been delivered for longer than patience.
func (h *health) failing(of roadName, cause int, remedy string, err error) {
	h.mu.Lock()
	now := time.Now()
	if h.since[of].IsZero() {
		h.since[of] = now
	}
	lasts := now.Sub(h.since[of]) > patience
	h.mu.Unlock()
	if lasts {
		h.ill(of, cause, remedy, err)
	}
}

func (h *health) well(of roadName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.since[of] = time.Time{}
	if h.cause[of] == 0 {
		return
	}
	h.cause[of] = 0
	h.logger.Info("The backend takes " + of.String() + " again")
	if h.cause == [2]int{} {
		componentstatus.ReportStatus(h.host, componentstatus.NewEvent(componentstatus.StatusOK))
	}
}
