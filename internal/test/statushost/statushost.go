// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package statushost is a component host that records the statuses that a component reports, for tests.
package statushost

import (
	"slices"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
)

// Host records every status event, in the order of the reports. It is safe for concurrent use.
type Host struct {
	component.Host

	mu     sync.Mutex
	events []*componentstatus.Event
}

// New returns a host without extensions and without events.
func New() *Host { return &Host{Host: componenttest.NewNopHost()} }

// Report implements componentstatus.Reporter.
func (h *Host) Report(event *componentstatus.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, event)
}

// Events returns the events so far.
func (h *Host) Events() []*componentstatus.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.events)
}

// Statuses returns the status of each event so far, nil before the first one.
func (h *Host) Statuses() []componentstatus.Status {
	var statuses []componentstatus.Status
	for _, event := range h.Events() {
		statuses = append(statuses, event.Status())
	}
	return statuses
}
