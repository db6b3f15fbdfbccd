// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"sync"
	"time"
)

// maxSeen is twice the number of events that an engine replays (256), so that a replay never evicts the keys that it repeats.
const maxSeen = 512

// replay holds the keys of received events, so that a subscription can overlap the previous one.
type replay struct {
	mu    sync.Mutex
	seen  map[eventKey]struct{}
	order []eventKey // a ring of the keys in seen
	next  int        // index in order of the oldest key, which the next event replaces
	last  time.Time  // the time of the latest event
}

// eventKey identifies an event that is received again.
type eventKey struct {
	nano       int64
	id, action string
}

// since returns the time from which to request events: shortly before the latest received one by the engine's clock, or by the
// observer's clock for the first subscription. An event from before subscribed is a replay.
func (r *replay) since(now time.Time) (since, subscribed time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last.IsZero() {
		r.last = now
	}
	return r.last.Add(-overlap), now
}

// isNew records an event and reports whether it was not received before. An event without a time is always new.
func (r *replay) isNew(nano int64, id, action string) bool {
	if nano <= 0 || !validID(id) || len(action) > 64 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key := eventKey{nano, id, action}
	if _, known := r.seen[key]; known {
		return false
	}
	if r.seen == nil {
		r.seen = make(map[eventKey]struct{}, maxSeen)
	}
	if len(r.order) < maxSeen {
		r.order = append(r.order, key)
	} else {
		delete(r.seen, r.order[r.next])
		r.order[r.next] = key
		r.next = (r.next + 1) % maxSeen
	}
	r.seen[key] = struct{}{}
	if at := plausible(time.Unix(0, nano)); at.After(r.last) {
		r.last = at
	}
	return true
}
