// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"sync"

	"github.com/zastava-otel/zastava/internal/runtime"
)

// perContainer bounds the notices kept of one container: its creation, the start and the end of two runs, its removal.
const perContainer = 6

// mailbox holds the notices that the loop has not handled yet. Posting never waits: where there is no room for another container, the
// notice is dropped and a list requested instead, which shows what the notice was about.
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

// post adds a notice. A repeat of the newest notice of a container (an OOM kill is reported dozens of times) replaces it.
func (m *mailbox) post(n runtime.Notice) {
	m.mu.Lock()
	had, known := m.notices[n.ID]
	switch {
	case !known && len(m.notices) >= m.capacity:
		m.drop()
	case known && had[len(had)-1].Kind == n.Kind && n.Kind != runtime.NoticeHealth:
		had[len(had)-1] = n
	case len(had) >= perContainer:
		m.drop()
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

func (m *mailbox) drop() {
	m.overflowed = true
	m.overflow()
}

// empty removes and returns all notices, those of one container in order, and whether some were dropped.
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
