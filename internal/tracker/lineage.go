// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"time"

	"github.com/zastava-otel/zastava/internal/container"
)

// lineage tracks the containers of one identity: a restart under CRI is a new container.
type lineage struct {
	containers map[string]struct{}
	newest     string                 // the container with the highest attempt; with equal attempts (Compose) the one created last
	order      order                  // the order of newest
	ran        bool                   // some run of the identity is known, even if its start failed
	lastRun    order                  // the order of the last container with a known run
	lastID     string                 // the id of that container
	previous   *container.PreviousRun // the latest run that is known to have ended; nil if none
	loop       *CrashLoop
	idle       time.Time // the first Tick without a container; zero while there is one
}

// order sorts the containers of one identity.
type order struct {
	attempt uint32
	created time.Time
}

func orderOf(c *container.Container) order { return order{c.Attempt, c.CreatedAt} }

func (o order) before(p order) bool {
	return o.attempt < p.attempt || (o.attempt == p.attempt && o.created.Before(p.created))
}

func (t *Tracker) lineage(c *container.Container) *lineage {
	return t.lineages[c.Identity()] // nil for a new identity; reading methods accept a nil receiver
}

func (t *Tracker) lineageOf(c *container.Container) *lineage {
	id := c.Identity()
	ln := t.lineages[id]
	if ln == nil {
		ln = &lineage{containers: map[string]struct{}{}}
		t.lineages[id] = ln
	}
	return ln
}

// forget removes a container from its lineage. Tick removes the lineage itself later: the next container of the identity
// may already exist and be inspected a moment later, and an identity that failed recently may fail again.
func (t *Tracker) forget(k *Known, c *Change) {
	ln := t.lineage(k.Container)
	if ln == nil {
		return
	}
	for i := range c.Transitions {
		if tr := &c.Transitions[i]; tr.Kind == container.KindStopped && ln.lastID == c.ID {
			ln.previous = previousOf(c.ID, tr.Run)
		}
	}
	delete(ln.containers, c.ID)
}

// previousRun returns the run before the first run of a container, and how many runs between the two were not observed.
func (t *Tracker) previousRun(s *container.Snapshot) (*container.PreviousRun, missed) {
	ln := t.lineage(s.Container)
	attempt := s.Container.Attempt
	if attempt == 0 && s.RestartCount > 0 { // one id has many runs, and the runtime counts them
		return nil, missed{runs: s.RestartCount}
	}
	if ln == nil || !ln.ran {
		return nil, missed{unknown: true}
	}
	last, prev := ln.lastRun, ln.latest()
	if place := orderOf(s.Container); !last.before(place) { // a later container was inspected first
		if last, prev = t.ranBefore(ln, place); prev == nil {
			return nil, missed{unknown: true}
		}
	}
	if attempt > last.attempt+1 {
		return prev, missed{runs: attempt - last.attempt - 1}
	}
	return prev, missed{} // the next attempt, or a Compose replacement at attempt 0
}

// ranBefore returns the last tracked container before place that ran, and its run; prev is nil if there is none.
func (t *Tracker) ranBefore(ln *lineage, place order) (last order, prev *container.PreviousRun) {
	for id := range ln.containers {
		k := t.known[id]
		if k == nil || k.State == container.StateCreated || k.State == container.StateUnknown {
			continue
		}
		if o := orderOf(k.Container); o.before(place) && (prev == nil || last.before(o)) {
			last, prev = o, &container.PreviousRun{ContainerID: id}
			if k.State == container.StateExited {
				if ended := previousOf(id, k.Run); ended != nil {
					prev = ended
				}
			}
		}
	}
	return last, prev
}

// replaces reports whether a container replaces one that ran: Compose creates a new container when its configuration changes.
func (ln *lineage) replaces(c *container.Container) bool {
	return ln != nil && ln.ran && c.Compose.Identity() != "" && ln.lastID != c.ID && ln.lastRun.before(orderOf(c))
}

// latest returns the latest run. If its end was not observed yet, only its container is set.
func (ln *lineage) latest() *container.PreviousRun {
	if ln.previous == nil || ln.previous.ContainerID != ln.lastID {
		return &container.PreviousRun{ContainerID: ln.lastID}
	}
	return ln.previous
}

func (ln *lineage) apply(id string, k *Known) {
	ln.containers[id], ln.idle = struct{}{}, time.Time{}
	place := orderOf(k.Container)
	if k.State != container.StateCreated && k.State != container.StateUnknown {
		if !ln.ran || ln.lastID == id || !place.before(ln.lastRun) {
			ln.lastRun, ln.lastID = place, id
		}
		ln.ran = true
	}
	if k.State == container.StateExited && ln.lastID == id {
		ln.previous = previousOf(id, k.Run)
	}
	if ln.newest != "" && ln.newest != id && place.before(ln.order) {
		return // an older attempt does not change the newest one
	}
	ln.newest, ln.order = id, place
	ln.loop = k.CrashLoop
}

// idleLimit is how long an identity without containers is kept: its next container may exist already and be inspected later.
const idleLimit = time.Minute

// Tick returns the ends of crash loops: those whose latest run has outlived the window. It also removes identities that
// have had no container for idleLimit and did not fail within the window.
func (t *Tracker) Tick(o Observation) []Change {
	var changes []Change
	for identity, ln := range t.lineages {
		if len(ln.containers) == 0 {
			if ln.idle.IsZero() {
				ln.idle = o.At
			}
			if o.At.Sub(ln.idle) >= idleLimit && (ln.loop == nil || o.At.Sub(ln.loop.latest()) > t.opts.CrashLoopWindow) {
				delete(t.lineages, identity)
			}
			continue
		}
		if c, ended := t.endCrashLoop(ln, o); ended {
			changes = append(changes, c)
		}
	}
	return changes
}
