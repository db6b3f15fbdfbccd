// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"sync"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
)

const (
	// maxRemembered bounds what is remembered between looks, in containers. Past it, what is not known is only what a list
	// or an inspect does not show: marks, stop signals and OOM kills of child processes.
	maxRemembered = 16384
	// forgetAfter is how long a container that no list shows is remembered: its end may be told after its removal.
	forgetAfter = time.Minute
	// ageSlack is what two readings of one status may disagree by: the engine's clock is read some time within the call.
	ageSlack = 100 * time.Millisecond
)

// memory is what one look has to know of the looks and events before it.
type memory struct {
	mu         sync.Mutex
	peer       peer
	containers map[string]*remembered
}

// remembered is what is kept of one container.
type remembered struct {
	touched time.Time
	shown   bool // a list showed it, so that no later one leaves it out for being Kubernetes'

	state    string // as the newest list had it
	from, to time.Time
	jumps    uint32 // how often the state was found to have begun anew

	failed bool // created, and its start failed: the list calls it created still
	unrun  bool // being removed, or dead, and never started: the list shows neither

	hides    hidden // what its events do not tell
	stopBy   uint32 // the signal that asks its program to end; 0 = not looked at yet
	signal   uint32 // the newest that was sent on request
	signaled time.Time
	oom      time.Time // the newest OOM kill that an event told
	killed   time.Time // the end of the newest run, if it was by a SIGKILL that nobody was seen to ask for
}

// hidden says which of the engine's own attributes an event does not tell, because the container has a label of that name: Docker
// copies the labels over what it has to say itself.
type hidden struct{ exitCode, signal bool }

// hide takes the labels of a container, or the attributes of an event, which are labels but for those that its action has.
func (k *remembered) hide(labels map[string]string, action string) {
	if _, is := labels[attributeExitCode]; is && action != "die" {
		k.hides.exitCode = true
	}
	if _, is := labels[attributeSignal]; is && action != "kill" {
		k.hides.signal = true
	}
}

func (m *memory) init() { m.containers = map[string]*remembered{} }

// peer is what is remembered of who answers at the endpoint.
type peer struct {
	podman    bool
	host      container.Platform
	isolation container.Isolation // that containers get which ask for none; "" on Linux
}

func (m *memory) setPeer(p peer) {
	m.mu.Lock()
	m.peer = p
	m.mu.Unlock()
}

func (m *memory) whoAnswers() peer {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.peer
}

// of gives what is remembered of a container, for use under the lock. Nil: there is no room for another one.
func (m *memory) of(id string, now time.Time) *remembered {
	k := m.containers[id]
	if k == nil {
		if len(m.containers) >= maxRemembered {
			return nil
		}
		k = &remembered{}
		m.containers[id] = k
	}
	k.touched = now
	return k
}

// do calls f with what is remembered of a container, if there is room to remember it.
func (m *memory) do(id string, f func(*remembered)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.of(id, time.Now()); k != nil {
		f(k)
	}
}

// sweep forgets what neither a list nor an event has touched for a while. For use under the lock.
func (m *memory) sweep(now time.Time) {
	for id, k := range m.containers {
		if now.Sub(k.touched) > forgetAfter {
			delete(m.containers, id)
		}
	}
}

// look takes the state and status of a list whose answer was made between began and ended. It counts a jump when the state
// cannot have begun when it was known to have.
func (k *remembered) look(state string, t statusText, began, ended time.Time) {
	if k.state != state {
		k.state, k.from, k.to = state, time.Time{}, time.Time{}
	}
	if !t.aged {
		return
	}
	from, to := began.Add(-t.max-ageSlack), ended.Add(-t.min+ageSlack)
	switch {
	case k.to.IsZero():
		k.from, k.to = from, to
	case from.After(k.to) || to.Before(k.from):
		k.jumps++
		k.from, k.to = from, to
	default:
		if from.After(k.from) {
			k.from = from
		}
		if to.Before(k.to) {
			k.to = to
		}
	}
}

// hasShown tells whether a list has shown a container.
func (m *memory) hasShown(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.containers[id]
	return k != nil && k.shown
}
