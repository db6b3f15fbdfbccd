// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"sync"
	"time"
)

// suspendedFor is how long a container that made a thread hang is not sampled. It is not sampled anyway while the thread hangs.
const suspendedFor = 10 * time.Minute

// hung counts the abandoned threads that still hang, and knows the containers that caused it.
type hung struct {
	limit int // of threads; with as many, nothing is sampled

	mu         sync.Mutex
	threads    int
	containers map[string]suspension
}

// suspension is of a container that made a thread hang.
type suspension struct {
	until   time.Time
	threads int // that hang still
}

func newHung(limit int) *hung { return &hung{limit: limit, containers: map[string]suspension{}} }

// allows reports whether a container may be sampled: it is not suspended, and fewer threads than the limit hang.
func (h *hung) allows(containerID string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for id, s := range h.containers {
		if s.threads == 0 && now.After(s.until) {
			delete(h.containers, id)
		}
	}
	_, suspended := h.containers[containerID]
	return !suspended && h.threads < h.limit
}

// abandoned counts a thread that hangs, and suspends its container.
func (h *hung) abandoned(containerID string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.threads++
	s := h.containers[containerID]
	s.threads++
	s.until = time.Now().Add(suspendedFor)
	h.containers[containerID] = s
}

// returned counts an abandoned thread that hangs no longer.
func (h *hung) returned(containerID string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.threads--
	s := h.containers[containerID]
	s.threads--
	h.containers[containerID] = s
}

func (h *hung) counts() (threads, containers int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.threads, len(h.containers)
}
