// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"sync"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
)

const (
	// maxRemembered is the maximum number of remembered containers. Beyond it, only what no list or inspection shows is
	// unknown: restarts between two lists, stop signals and OOM kills of child processes.
	maxRemembered = 16384
	// forgetAfter is how long a container that no list shows is remembered, because its exit may be reported after its removal.
	forgetAfter = time.Minute
	// ageSlack is the tolerance of an age in a status, because the engine reads its clock at an unknown time during the call.
	ageSlack = 100 * time.Millisecond
)

// memory holds what later calls need to know of earlier lists, inspections and events. Its zero value is ready for use.
type memory struct {
	mu         sync.Mutex
	peer       peer
	containers map[string]*remembered
}

// remembered is what is known of one container.
type remembered struct {
	touched time.Time
	shown   bool // a list showed it, so that no later list omits it because of its Kubernetes labels

	state    string    // in the latest list
	from, to time.Time // when this state began, at the earliest and at the latest
	restarts uint32    // number of lists that showed the same state with another beginning

	startFailed bool // its start failed, but lists still show it as created
	neverRan    bool // it is being removed or dead and was never started, but lists show it as such

	hides       hidden    // the attributes that its events do not contain
	imageSignal uint32    // the stop signal of its image; 0 if not inspected yet
	signal      uint32    // the latest signal that was sent on request
	signaled    time.Time // when it was sent
	oom         time.Time // the latest OOM kill that an event reported
	killed      time.Time // the end of the latest run, if it was by a SIGKILL without a known request
}

// hidden records which of the engine's own attributes a container's events do not contain, because the container has a label
// of that name: Docker overwrites its own attributes with the labels.
type hidden struct{ exitCode, signal bool }

// noteHidden records the hidden attributes. labels are the labels of a container or the attributes of an event, which are labels
// except for those that its action sets.
func (k *remembered) noteHidden(labels map[string]string, action string) {
	if _, is := labels[attributeExitCode]; is && action != "die" {
		k.hides.exitCode = true
	}
	if _, is := labels[attributeSignal]; is && action != "kill" {
		k.hides.signal = true
	}
}

// peer describes the engine at the endpoint.
type peer struct {
	podman    bool
	platform  container.Platform
	isolation container.Isolation // of containers that request none; empty on Linux
}

func (m *memory) setPeer(p peer) {
	m.mu.Lock()
	m.peer = p
	m.mu.Unlock()
}

func (m *memory) currentPeer() peer {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.peer
}

// of returns what is known of a container, or nil if the memory is full. The caller holds the lock.
func (m *memory) of(id string, now time.Time) *remembered {
	k := m.containers[id]
	if k == nil {
		if len(m.containers) >= maxRemembered {
			return nil
		}
		k = &remembered{}
		if m.containers == nil {
			m.containers = map[string]*remembered{}
		}
		m.containers[id] = k
	}
	k.touched = now
	return k
}

// update calls f with what is known of a container, unless the memory is full.
func (m *memory) update(id string, f func(*remembered)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.of(id, time.Now()); k != nil {
		f(k)
	}
}

// sweep removes containers that no list and no event has mentioned for forgetAfter. The caller holds the lock.
func (m *memory) sweep(now time.Time) {
	for id, k := range m.containers {
		if now.Sub(k.touched) > forgetAfter {
			delete(m.containers, id)
		}
	}
}

// noteListed records the state and status text of a list that the engine made between began and ended. It counts a restart if
// the state cannot have begun when earlier lists showed that it did.
func (k *remembered) noteListed(state string, t statusText, began, ended time.Time) {
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
		k.restarts++
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

// hasShown reports whether a list has shown a container.
func (m *memory) hasShown(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.containers[id]
	return k != nil && k.shown
}
