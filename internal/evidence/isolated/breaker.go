// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/limit"
)

const (
	// suspendFirst is how long a container is not sampled after the process ended while sampling it; each further end takes four times
	// as long, up to suspendMax.
	suspendFirst = time.Minute
	suspendMax   = 24 * time.Hour
	// maxSuspended bounds what is remembered; the containers whose suspension ends first are forgotten first.
	maxSuspended = 1024
	maxID        = 64
	maxStored    = 256 << 10 // bytes of the stored form: an id of 64 digits and two numbers, 1,024 times, are 130 KiB
)

// breaker remembers the containers whose sampling ended the process. It is not safe for concurrent use.
type breaker struct {
	suspended map[string]suspension
}

// suspension is one container that is not sampled for a while.
type suspension struct {
	Ends  int       `json:"ends"`  // of the process, while it sampled the container
	Until time.Time `json:"until"` // it may be sampled again, alone
}

// allows reports whether the container may be sampled now, and whether it must be sampled alone: the next end of the process shall
// have one suspect.
func (b *breaker) allows(id string, now time.Time) (allowed, alone bool) {
	s, known := b.suspended[rememberedID(id)]
	return !known || !now.Before(s.Until), known
}

// rememberedID returns an id in the length that the stored form has room for. A runtime may supply any; those of runtimes have 64 digits.
func rememberedID(id string) string {
	if len(id) <= maxID {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}

// ended records that the process ended while it sampled the container.
func (b *breaker) ended(id string, now time.Time) suspension {
	id = rememberedID(id)
	if b.suspended == nil {
		b.suspended = map[string]suspension{}
	}
	s := b.suspended[id]
	s.Ends++
	wait := suspendFirst
	for i := 1; i < s.Ends && wait < suspendMax; i++ {
		wait *= 4
	}
	s.Until = now.Add(min(wait, suspendMax))
	b.suspended[id] = s
	b.bound()
	return s
}

// sampled records a sample that succeeded. It reports whether that changes anything.
func (b *breaker) sampled(id string) bool {
	id = rememberedID(id)
	_, known := b.suspended[id]
	delete(b.suspended, id)
	return known
}

// bound forgets the suspensions that end first.
func (b *breaker) bound() {
	for len(b.suspended) > maxSuspended {
		first := ""
		for id, s := range b.suspended {
			if first == "" || s.Until.Before(b.suspended[first].Until) {
				first = id
			}
		}
		delete(b.suspended, first)
	}
}

// count returns how many containers are not sampled now.
func (b *breaker) count(now time.Time) int {
	n := 0
	for _, s := range b.suspended {
		if now.Before(s.Until) {
			n++
		}
	}
	return n
}

// store returns the stored form.
func (b *breaker) store() []byte {
	text, _ := json.Marshal(b.suspended) //nolint:errchkjson // strings, numbers and times
	return text
}

// load reads the stored form. A suspension that lies further ahead than any can (the clock was set back) ends at once.
func (b *breaker) load(text []byte, now time.Time) error {
	if len(text) > maxStored {
		return fmt.Errorf("suspended containers: %w", &limit.Error{Kind: limit.Bytes, Max: maxStored})
	}
	var stored map[string]suspension
	if err := json.Unmarshal(text, &stored); err != nil {
		return fmt.Errorf("suspended containers: %w", err)
	}
	b.suspended = map[string]suspension{}
	for _, id := range slices.SortedFunc(maps.Keys(stored), strings.Compare) {
		s := stored[id]
		if id == "" || len(id) > maxID || s.Ends <= 0 {
			continue
		}
		if s.Until.After(now.Add(suspendMax)) {
			s.Until = now
		}
		b.suspended[id] = s
	}
	b.bound()
	return nil
}
