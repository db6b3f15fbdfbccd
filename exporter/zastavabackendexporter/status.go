// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.uber.org/zap"
)

// health reports the component's status, and logs it, when it changes: a recoverable error that names the cause while
// credentials or address are at fault, OK once a batch was stored again. Retries of one fault are one report.
type health struct {
	logger *zap.Logger

	mu    sync.Mutex
	host  component.Host
	cause int // the status that the backend answered with; 0 = well
}

func (h *health) start(host component.Host) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.host = host
}

// ill reports err unless the same cause, an HTTP status, was reported last. remedy tells the user what to do.
func (h *health) ill(cause int, remedy string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cause == cause {
		return
	}
	h.cause = cause
	h.logger.Error("The backend takes no events; keeping them and trying again", zap.Error(err), zap.String("remedy", remedy))
	componentstatus.ReportStatus(h.host, componentstatus.NewRecoverableErrorEvent(err))
}

func (h *health) well() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cause == 0 {
		return
	}
	h.cause = 0
	h.logger.Info("The backend takes events again")
	componentstatus.ReportStatus(h.host, componentstatus.NewEvent(componentstatus.StatusOK))
}
