// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package checkpoint stores, through the collector's storage extension, what was observed and delivered, so that an observer that was
// restarted can report what happened while it was down.
//
// There is one small record per container (at most MaxRecord bytes), an index of the containers in segments, and one record about the
// whole. A save writes only what changed, in one batch. What cannot be read (damaged, larger than what is ever written, written by
// something else or by a newer version) is set aside under another key, reported as an error, and otherwise treated as absent; what is missing is reported, too: the observer then reports what it observes
// again, with the same ids.
package checkpoint

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/zastava-otel/zastava/internal/limit"
	"github.com/zastava-otel/zastava/internal/observer"
	"github.com/zastava-otel/zastava/internal/tracker"
)

const (
	kind        = "zastava.checkpoint"
	version     = 1
	metaKey     = "meta"
	asidePrefix = "aside/"
	perSegment  = 64      // container ids of one index segment: 4 KiB
	perRead     = 256     // records read in one batch
	maxSegments = 1 << 16 // no node has as many containers; a larger number is damage, and would take too long to count up to
	maxID       = 256     // bytes of a container's id; runtimes allow fewer
	maxFaults   = 8       // errors of one Load that are returned; the others are counted
)

// What a checkpoint of this program never reaches: a larger one is damage, or was written by something else.
const (
	maxContainers = 1 << 16 // some 100 MiB of memory
	maxBytes      = 128 << 20
	maxText       = perSegment * (maxID + 1) // bytes of one value: a segment of the longest ids; records have MaxRecord
)

// limits are those of one value that is JSON. What is written has five levels of nesting at most and numbers of up to 20 digits.
var limits = limit.JSON{Nesting: 8, Items: 4096, Digits: 32}

// meta is the record about the whole checkpoint.
type meta struct {
	Kind       string `json:"kind"`
	Version    int    `json:"version"`
	Generation string `json:"generation"` // prefix of all other keys
	Boot       string `json:"boot,omitempty"`
	Engine     string `json:"engine,omitempty"`
	Runtime    string `json:"runtime,omitempty"`
	Owner      uint32 `json:"owner,omitempty"`
	Endpoint   string `json:"endpoint,omitempty"` // empty if unknown
	Seen       int64  `json:"seen"`               // ns since 1970
	Segments   int    `json:"segments"`
}

// Store is the checkpoint of one runtime. One goroutine at a time may use it.
//
// What holds: segment is the inverse of segments, no segment has more than perSegment ids, and a change stays in pending until a batch
// with it was written.
type Store struct {
	client   storage.Client
	meta     meta
	segments [][]string
	segment  map[string]int            // of each container id
	pending  map[string]*tracker.Known // changes that are not written yet; nil if the record is to be deleted
	stale    map[int]bool              // segments that changed since they were written
	fresh    map[string]struct{}       // containers of which no record was ever written
}

// New returns a store that owns client. boot identifies the present boot of the host.
func New(client storage.Client, boot string) *Store {
	s := &Store{client: client}
	s.reset(boot)
	return s
}

// WithEndpoint sets the endpoint of the runtime, before Load. The checkpoint of another endpoint is not used: runtimes without a name
// are numbered, and their numbers change with the configuration.
func (s *Store) WithEndpoint(endpoint string) *Store {
	s.meta.Endpoint = endpoint
	return s
}

func (s *Store) reset(boot string) {
	generation := strconv.FormatInt(time.Now().UnixNano(), 36)
	s.meta = meta{Kind: kind, Version: version, Generation: generation, Boot: boot}
	s.segments, s.segment = nil, map[string]int{}
	s.pending, s.stale, s.fresh = map[string]*tracker.Known{}, map[int]bool{}, map[string]struct{}{}
}

func (s *Store) containerKey(id string) string { return s.meta.Generation + "/c/" + id }
func (s *Store) segmentKey(n int) string       { return s.meta.Generation + "/i/" + strconv.Itoa(n) }

// Load returns what was saved last. An error names what could not be read; what is returned with it is valid.
func (s *Store) Load(ctx context.Context) (observer.Remembered, error) {
	m, err := s.loadMeta(ctx)
	if m == nil {
		return observer.Remembered{}, err
	}
	boot, endpoint := s.meta.Boot, cmp.Or(s.meta.Endpoint, m.Endpoint)
	s.meta = *m
	r := observer.Remembered{Containers: map[string]*tracker.Known{}, Seen: moment(m.Seen), BootID: m.Boot}
	l := loading{known: r.Containers, budget: limit.New(limit.Limits{Items: maxContainers, Bytes: maxBytes, CPU: math.MaxInt64})}
	for n := range m.Segments {
		ids, whole := s.loadSegment(ctx, n, &l)
		kept := s.loadContainers(ctx, ids, &l)
		if !whole || len(kept) != len(ids) {
			s.stale[n] = true
		}
		s.segments = append(s.segments, kept)
		for _, id := range kept {
			s.segment[id] = n
		}
		if l.budget.Err() != nil {
			break
		}
	}
	for n := len(s.segments) - 1; n >= 0 && len(s.segments[n]) == 0; n-- { // of damage; they need not be written
		s.segments = s.segments[:n]
		delete(s.stale, n)
	}
	s.meta.Boot, s.meta.Endpoint = boot, endpoint
	return r, l.err()
}

// loading is the state of one Load.
type loading struct {
	known  map[string]*tracker.Known
	budget *limit.Budget
	faults []error
	more   int // faults that are only counted
}

func (l *loading) fault(err error) {
	if len(l.faults) == maxFaults {
		l.more++
		return
	}
	l.faults = append(l.faults, err)
}

func (l *loading) err() error {
	if err := l.budget.Err(); err != nil {
		l.faults = append(l.faults, fmt.Errorf("the checkpoint has %w; the rest of it is not used", err))
	}
	if l.more > 0 {
		l.faults = append(l.faults, fmt.Errorf("%d more faults of the checkpoint", l.more))
	}
	return errors.Join(l.faults...)
}

// unmarshal decodes JSON that may have been written by something else.
func unmarshal(raw []byte, to any) error {
	if len(raw) > maxText {
		return &limit.Error{Kind: limit.Bytes, Max: maxText}
	}
	if err := limit.CheckJSON(raw, limits); err != nil {
		return err
	}
	return json.Unmarshal(raw, to)
}

// loadMeta returns the record about the whole checkpoint; nil if there is none that can be used.
func (s *Store) loadMeta(ctx context.Context) (*meta, error) {
	raw, err := s.client.Get(ctx, metaKey)
	if err != nil {
		return nil, fmt.Errorf("read the checkpoint: %w", err)
	}
	if raw == nil {
		return nil, nil
	}
	var m meta
	if err := unmarshal(raw, &m); err != nil || !m.valid() {
		return nil, s.setAside(ctx, metaKey, raw, fmt.Errorf("the checkpoint is of kind %.100q, version %d, where %q, version %d is expected", m.Kind, m.Version, kind, version))
	}
	if s.meta.Endpoint != "" && m.Endpoint != "" && m.Endpoint != s.meta.Endpoint {
		return nil, s.setAside(ctx, metaKey, raw, fmt.Errorf("the checkpoint is of the runtime at %q, and this one is at %q", m.Endpoint, s.meta.Endpoint))
	}
	return &m, nil
}

func (m *meta) valid() bool {
	return m.Kind == kind && m.Version == version && m.Generation != "" && m.Segments >= 0 && m.Segments <= maxSegments
}

// loadSegment returns the ids of a segment. It is not whole if it is missing or contains something else.
func (s *Store) loadSegment(ctx context.Context, n int, l *loading) (ids []string, whole bool) {
	raw, err := s.client.Get(ctx, s.segmentKey(n))
	switch {
	case err != nil:
		l.fault(fmt.Errorf("read segment %d of the checkpoint: %w", n, err))
		return nil, false
	case raw == nil:
		l.fault(fmt.Errorf("segment %d of the checkpoint is missing", n))
		return nil, false
	case len(raw) == 0:
		return nil, true
	case len(raw) > maxText || bytes.Count(raw, []byte{'\n'}) >= perSegment:
		l.fault(s.setAside(ctx, s.segmentKey(n), raw, fmt.Errorf("segment %d of the checkpoint is larger than any that is written", n)))
		return nil, false
	}
	seen := map[string]struct{}{}
	for id := range strings.SplitSeq(string(raw), "\n") {
		_, double := seen[id]
		_, known := l.known[id] // of another segment
		if id == "" || len(id) > maxID || !utf8.ValidString(id) || double || known {
			continue
		}
		seen[id] = struct{}{}
		ids = append(ids, id)
	}
	return ids, len(ids) == 1+bytes.Count(raw, []byte{'\n'})
}

// loadContainers reads the records of ids and returns the ids of which there was a valid one.
func (s *Store) loadContainers(ctx context.Context, ids []string, l *loading) (kept []string) {
	missing := 0
	for chunk := range slices.Chunk(ids, perRead) {
		ops := make([]*storage.Operation, len(chunk))
		for i, id := range chunk {
			ops[i] = storage.GetOperation(s.containerKey(id))
		}
		if err := s.client.Batch(ctx, ops...); err != nil {
			l.fault(fmt.Errorf("read %d containers of the checkpoint: %w", len(chunk), err))
			return kept
		}
		for i, id := range chunk {
			switch raw := ops[i].Value; {
			case raw == nil:
				missing++
			case l.budget.Item(1) != nil || l.budget.Take(int64(len(raw))) != nil:
				return kept
			default:
				k, err := decode(id, s.meta, raw)
				if err != nil {
					l.fault(s.setAside(ctx, ops[i].Key, raw, fmt.Errorf("container %s: %w", id, err)))
					continue
				}
				l.known[id] = k
				kept = append(kept, id)
			}
		}
	}
	if missing > 0 {
		l.fault(fmt.Errorf("the records of %d containers of the checkpoint are missing", missing))
	}
	return kept
}

// setAside keeps what cannot be used under another key. It returns cause, completed by that key.
func (s *Store) setAside(ctx context.Context, key string, raw []byte, cause error) error {
	aside := asidePrefix + strconv.FormatInt(time.Now().UnixNano(), 36) + "/" + key
	err := s.client.Batch(ctx, storage.SetOperation(aside, slices.Clone(raw)), storage.DeleteOperation(key))
	if err != nil {
		return errors.Join(cause, fmt.Errorf("set it aside: %w", err))
	}
	return fmt.Errorf("set aside as %s: %w", aside, cause)
}

// Save writes, in one batch, the changes and when the runtime was last seen. What could not be written is written by the next save.
func (s *Store) Save(ctx context.Context, changes []tracker.Change, seen time.Time) error {
	for i := range changes {
		c := &changes[i]
		if c.Next == nil {
			s.remove(c.ID)
			continue
		}
		s.index(c.ID)
		s.pending[c.ID] = c.Next
		s.meta.Engine, s.meta.Runtime, s.meta.Owner = c.Next.Container.Engine, c.Next.Container.Runtime, c.Next.Container.Owner
	}
	if !seen.IsZero() {
		s.meta.Seen = seen.UnixNano() // which is earlier than before if the clock was set back
	}
	s.meta.Segments = len(s.segments)
	ops, err := s.writes()
	if err != nil {
		return err
	}
	if err := s.client.Batch(ctx, ops...); err != nil {
		return fmt.Errorf("write the checkpoint: %w", err)
	}
	clear(s.pending)
	clear(s.stale)
	clear(s.fresh)
	return nil
}

// writes returns the operations that write all that is not written yet.
func (s *Store) writes() ([]*storage.Operation, error) {
	ops := make([]*storage.Operation, 0, len(s.pending)+len(s.stale)+1)
	for id, k := range s.pending {
		if k == nil {
			ops = append(ops, storage.DeleteOperation(s.containerKey(id)))
			continue
		}
		raw, err := encode(k)
		if err != nil {
			return nil, fmt.Errorf("encode container %s: %w", id, err)
		}
		ops = append(ops, storage.SetOperation(s.containerKey(id), raw))
	}
	for n := range s.stale {
		ops = append(ops, storage.SetOperation(s.segmentKey(n), []byte(strings.Join(s.segments[n], "\n"))))
	}
	raw, err := json.Marshal(s.meta)
	if err != nil {
		return nil, fmt.Errorf("encode the checkpoint: %w", err)
	}
	return append(ops, storage.SetOperation(metaKey, raw)), nil
}

// Close closes the client.
func (s *Store) Close(ctx context.Context) error { return s.client.Close(ctx) }

// index puts a container in a segment that has room.
func (s *Store) index(id string) {
	if _, ok := s.segment[id]; ok {
		return
	}
	n := slices.IndexFunc(s.segments, func(ids []string) bool { return len(ids) < perSegment })
	if n < 0 {
		n = len(s.segments)
		s.segments = append(s.segments, nil)
	}
	s.segments[n] = append(s.segments[n], id)
	s.segment[id] = n
	s.stale[n] = true
	if _, changed := s.pending[id]; !changed {
		s.fresh[id] = struct{}{}
	}
}

// remove has the record of a container deleted. A container that came and went while nothing could be written leaves no trace, because
// a storage may fail for days.
func (s *Store) remove(id string) {
	s.unindex(id)
	if _, never := s.fresh[id]; never {
		delete(s.fresh, id)
		delete(s.pending, id)
		return
	}
	s.pending[id] = nil
}

func (s *Store) unindex(id string) {
	n, ok := s.segment[id]
	if !ok {
		return
	}
	delete(s.segment, id)
	s.segments[n] = slices.DeleteFunc(s.segments[n], func(other string) bool { return other == id })
	s.stale[n] = true
}
