// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"sync"
	"time"
)

// maxReplayed is twice what an engine replays (256), so that a replay never pushes out what it repeats.
const maxReplayed = 512

// replay knows which events were heard, so that a subscription can overlap the one before it.
type replay struct {
	mu    sync.Mutex
	seen  map[heard]struct{}
	order []heard
	next  int // of order, to be overwritten
	last  time.Time
}

// heard is what makes an event the same one when it comes again.
type heard struct {
	nano       int64
	id, action string
}

// since is the moment from which to ask for events: a little before the newest that was heard, by the engine's clock, and by
// our own the first time. What happened before subscribed is a replay.
func (r *replay) since(now time.Time) (since, subscribed time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last.IsZero() {
		r.last = now
	}
	return r.last.Add(-overlap), now
}

// fresh takes note of an event, and tells whether it was not heard before. Events without a time are all fresh.
func (r *replay) fresh(nano int64, id, action string) bool {
	if nano <= 0 || !validID(id) || len(action) > 64 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	h := heard{nano, id, action}
	if _, was := r.seen[h]; was {
		return false
	}
	if r.seen == nil {
		r.seen = make(map[heard]struct{}, maxReplayed)
	}
	if len(r.order) < maxReplayed {
		r.order = append(r.order, h)
	} else {
		delete(r.seen, r.order[r.next])
		r.order[r.next] = h
		r.next = (r.next + 1) % maxReplayed
	}
	r.seen[h] = struct{}{}
	if at := sane(time.Unix(0, nano)); at.After(r.last) {
		r.last = at
	}
	return true
}
