// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// batchFrame is the size of a batch without envelopes: head, tail, and the 36 characters of its id.
var batchFrame = len(backendapi.AppendBatchHead(nil, uuid.Nil.String())) + len(backendapi.BatchTail)

// span is a range of a payload's items that is sent in one request.
type span struct{ from, to int }

// halves splits a span of more than one item.
func (s span) halves() (first, second span) {
	middle := s.from + (s.to-s.from)/2
	return span{s.from, middle}, span{middle, s.to}
}

// bisect replaces the first span by its halves.
func bisect(todo []span) []span {
	first, second := todo[0].halves()
	return append([]span{first, second}, todo[1:]...)
}

// size returns the length of the body of a span, in bytes.
func (p *payload) size(s span) int {
	n := batchFrame
	for _, it := range p.items[s.from:s.to] {
		n += it.to - it.from + 1 // 1 for the comma, which the last one lacks
	}
	return n - 1
}

// cut splits s so that no part exceeds the limits. A single event that exceeds maxBytes is a part of its own.
func (p *payload) cut(dst []span, s span, maxEvents, maxBytes int) []span {
	from, size := s.from, batchFrame-1
	for i := s.from; i < s.to; i++ {
		n := p.items[i].to - p.items[i].from + 1
		if i > from && (i-from == maxEvents || size+n > maxBytes) {
			dst = append(dst, span{from, i})
			from, size = i, batchFrame-1
		}
		size += n
	}
	if from < s.to {
		dst = append(dst, span{from, s.to})
	}
	return dst
}

// body returns the request body of s and its batch id. The id depends on the events alone, so the same span has the same body
// whenever it is sent.
func (p *payload) body(s span) (id string, body []byte) {
	items := p.items[s.from:s.to]
	keys := make([]byte, 0, len(items)*40)
	for i := range items {
		keys = backendapi.AppendBatchKey(keys, items[i].eventID, items[i].revision)
	}
	id = backendapi.BatchIDOfKeys(keys)
	body = backendapi.AppendBatchHead(make([]byte, 0, p.size(s)), id)
	for i := range items {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, p.json[items[i].from:items[i].to]...)
	}
	return id, append(body, backendapi.BatchTail...)
}

// limitMemory is how long a limit learned from a 413 is kept before the configured one is tried again.
const limitMemory = 10 * time.Minute

// byteLimit is the limit of bytes per batch: the configured one, or for a while a smaller one learned from the backend.
type byteLimit struct {
	configured int
	now        func() time.Time

	mu      sync.Mutex
	learned int // 0 if none
	expires time.Time
}

func (l *byteLimit) get() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.learned == 0 {
		return l.configured
	}
	if l.now().After(l.expires) {
		l.learned = 0
		return l.configured
	}
	return l.learned
}

// tooLarge learns that a batch of size bytes was too large, and returns the new limit: at most half of size, which always splits
// a batch of more than one event.
func (l *byteLimit) tooLarge(size int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	half := max(size/2, 1)
	if l.learned == 0 || half < l.learned {
		l.learned = half
	}
	l.expires = l.now().Add(limitMemory)
	return l.learned
}
