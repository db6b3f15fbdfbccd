// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package checkpoint stores, through the collector's storage extension, what was observed and delivered, so that an observer that was
// restarted can report what happened while it was down.
//
// There is one small record per container (at most MaxRecord bytes), an index of the containers in segments, and one record about the
// whole. A save writes only what changed, in one batch. What cannot be read (damaged, written by something else or by a newer version)
// is set aside under another key, reported as an error, and otherwise treated as absent: the observer then reports what it observes
// again, with the same ids.
package checkpoint

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/collector/extension/xextension/storage"

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
)

// meta is the record about the whole checkpoint.
type meta struct {
	Kind       string `json:"kind"`
	Version    int    `json:"version"`
	Generation string `json:"generation"` // prefix of all other keys
	Boot       string `json:"boot,omitempty"`
	Engine     string `json:"engine,omitempty"`
	Runtime    string `json:"runtime,omitempty"`
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
	var faults []error
	for n := range m.Segments {
		ids, err := s.loadSegment(ctx, n)
		if err != nil {
			faults = append(faults, err)
		}
		kept, err := s.loadContainers(ctx, ids, r.Containers)
		if err != nil {
			faults = append(faults, err)
		}
		if len(kept) != len(ids) {
			s.stale[n] = true
		}
		s.segments = append(s.segments, kept)
		for _, id := range kept {
			s.segment[id] = n
		}
	}
	s.meta.Boot, s.meta.Endpoint = boot, endpoint
	return r, errors.Join(faults...)
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
	if err := json.Unmarshal(raw, &m); err != nil || !m.valid() {
		return nil, s.setAside(ctx, metaKey, raw, fmt.Errorf("the checkpoint is of kind %q, version %d, where %q, version %d is expected", m.Kind, m.Version, kind, version))
	}
	if s.meta.Endpoint != "" && m.Endpoint != "" && m.Endpoint != s.meta.Endpoint {
		return nil, s.setAside(ctx, metaKey, raw, fmt.Errorf("the checkpoint is of the runtime at %q, and this one is at %q", m.Endpoint, s.meta.Endpoint))
	}
	return &m, nil
}

func (m *meta) valid() bool {
	return m.Kind == kind && m.Version == version && m.Generation != "" && m.Segments >= 0 && m.Segments <= maxSegments
}

func (s *Store) loadSegment(ctx context.Context, n int) ([]string, error) {
	raw, err := s.client.Get(ctx, s.segmentKey(n))
	if err != nil {
		return nil, fmt.Errorf("read segment %d of the checkpoint: %w", n, err)
	}
	if len(raw) == 0 {
		return nil, nil
	}
	ids := strings.Split(string(raw), "\n")
	return slices.DeleteFunc(ids, func(id string) bool { return id == "" || len(id) > maxID || !utf8.ValidString(id) }), nil
}

// loadContainers reads the records of ids into known and returns the ids of which there was a valid one.
func (s *Store) loadContainers(ctx context.Context, ids []string, known map[string]*tracker.Known) ([]string, error) {
	var kept []string
	var faults []error
	for chunk := range slices.Chunk(ids, perRead) {
		ops := make([]*storage.Operation, len(chunk))
		for i, id := range chunk {
			ops[i] = storage.GetOperation(s.containerKey(id))
		}
		if err := s.client.Batch(ctx, ops...); err != nil {
			return kept, fmt.Errorf("read %d containers of the checkpoint: %w", len(chunk), err)
		}
		for i, id := range chunk {
			if ops[i].Value == nil {
				continue
			}
			k, err := decode(id, s.meta, ops[i].Value)
			if err != nil {
				faults = append(faults, s.setAside(ctx, ops[i].Key, ops[i].Value, fmt.Errorf("container %s: %w", id, err)))
				continue
			}
			known[id] = k
			kept = append(kept, id)
		}
	}
	return kept, errors.Join(faults...)
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
		s.meta.Engine, s.meta.Runtime = c.Next.Container.Engine, c.Next.Container.Runtime
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
