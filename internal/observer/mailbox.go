// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"sync"

	"github.com/zastava-otel/zastava/internal/runtime"
)

// perContainer bounds the notices kept of one container: its creation, the start and the end of two runs, its removal.
const perContainer = 6

// mailbox holds the notices that the loop has not taken yet. Posting never waits: a box with no room for another container
// drops the notice and asks for a list instead, which shows whatever the notice would have told.
type mailbox struct {
	mu         sync.Mutex
	notices    map[string][]runtime.Notice
	order      []string // ids in order of their first notice
	capacity   int
	overflowed bool
	overflow   func()
	wake       chan struct{}
}

func newMailbox(capacity int, overflow func()) *mailbox {
	return &mailbox{notices: map[string][]runtime.Notice{}, capacity: capacity, overflow: overflow, wake: make(chan struct{}, 1)}
}

// post takes a notice. A repeat of the newest notice of a container (an OOM kill is told dozens of times) replaces it.
func (m *mailbox) post(n runtime.Notice) {
	m.mu.Lock()
	had, known := m.notices[n.ID]
	switch {
	case !known && len(m.notices) >= m.capacity:
		m.spill()
	case known && had[len(had)-1].Kind == n.Kind && n.Kind != runtime.NoticeHealth:
		had[len(had)-1] = n
	case len(had) >= perContainer:
		m.spill()
	default:
		if !known {
			m.order = append(m.order, n.ID)
		}
		m.notices[n.ID] = append(had, n)
	}
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *mailbox) spill() {
	m.overflowed = true
	m.overflow()
}

// empty gives all notices, of each container in order, and whether some were dropped.
func (m *mailbox) empty() (notices []runtime.Notice, overflowed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range m.order {
		notices = append(notices, m.notices[id]...)
	}
	clear(m.notices)
	m.order = m.order[:0]
	overflowed, m.overflowed = m.overflowed, false
	return notices, overflowed
}
