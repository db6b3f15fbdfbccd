// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package backend is the embedded reference backend: it takes runtime events as docs/api/openapi.yaml says, keeps them, and
// shows what runs where. It answers 202 only for what is on disk, says which field of a refused request is at fault, and
// lets no client make it hold more than a stated bound. It is one process with one database file; it does not scale out.
package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zastava-otel/zastava/internal/backend/page"
	"github.com/zastava-otel/zastava/internal/backend/store"
	"github.com/zastava-otel/zastava/internal/backend/wire"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

const (
	// maxIngesting bounds the batches that are read and checked at the same time; each may take its limit in bytes some
	// five times over (packed, unpacked, as a tree, as events, as stored).
	maxIngesting = 8
	// maxStreams bounds the clients that follow events at the same time.
	maxStreams = 64
	// queryTimeout bounds a query; a filter that matches little may have to look at every event.
	queryTimeout = 15 * time.Second
	// ingestTimeout bounds the reading of a batch's body from the network.
	ingestTimeout = 30 * time.Second
	// pruneInterval is the time between two looks for events older than the retention.
	pruneInterval = 10 * time.Minute
)

// Options of a backend. The zero value of each field but DB means its default.
type Options struct {
	DB             string           // path of the database file
	TokenFile      string           // of bearer tokens, see ParseTokens; read again when it changes; "" = no authentication
	Retention      time.Duration    // events received longer ago are removed; 0 = never
	Rate           float64          // events a second and tenant; 0 = any
	MaxBatchEvents int              // 0 = backendapi.MaxEventsPerBatch
	MaxBatchBytes  int64            // of uncompressed JSON; 0 = backendapi.MaxBatchBytes
	LocalHostOnly  bool             // refuse Host headers other than addresses and localhost: see checkHost
	Heartbeat      time.Duration    // of streams; 0 = 15 s
	WriteTimeout   time.Duration    // within which a stream's client must read; 0 = 10 s
	Now            func() time.Time // nil = time.Now
	Logger         *slog.Logger     // nil = slog.Default
}

// Backend serves the API over one database. Close it after the last request.
type Backend struct {
	opts    Options
	log     *slog.Logger
	store   *store.Store
	reader  *wire.Reader
	facts   *wire.FactsReader
	page    *page.Page
	limits  *limits
	metrics *metrics
	handler http.Handler

	ingesting chan struct{} // holds a token per batch in work
	factsIn   chan struct{} // holds a token per request with facts in work
	streams   chan struct{} // holds a token per stream
	failing   atomic.Bool   // the last batch could not be stored

	stop    chan struct{} // closed by StopStreams
	stopped sync.Once
	cancel  context.CancelFunc
	pruning sync.WaitGroup
}

// New opens the database and starts the removal of old events.
func New(ctx context.Context, opts Options) (*Backend, error) {
	opts.MaxBatchEvents = cmp.Or(opts.MaxBatchEvents, backendapi.MaxEventsPerBatch)
	opts.MaxBatchBytes = cmp.Or(opts.MaxBatchBytes, backendapi.MaxBatchBytes)
	opts.Heartbeat = cmp.Or(opts.Heartbeat, 15*time.Second)
	opts.WriteTimeout = cmp.Or(opts.WriteTimeout, 10*time.Second)
	opts.Logger = cmp.Or(opts.Logger, slog.Default())
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.MaxBatchEvents < 1 || opts.MaxBatchBytes < 1 || opts.Rate < 0 || opts.Retention < 0 {
		return nil, errors.New("start the backend: limits, rate and retention must not be negative")
	}
	reader, err := wire.NewReader(wire.Limits{Events: opts.MaxBatchEvents, Bytes: opts.MaxBatchBytes})
	if err != nil {
		return nil, fmt.Errorf("start the backend: %w", err)
	}
	s, err := store.Open(ctx, opts.DB, opts.Now)
	if err != nil {
		return nil, fmt.Errorf("start the backend: %w", err)
	}
	auth, err := newAuthenticator(opts.TokenFile, opts.Now, opts.Logger)
	if err != nil {
		return nil, fmt.Errorf("start the backend: %w", errors.Join(err, s.Close()))
	}
	b := &Backend{
		opts: opts, log: opts.Logger, store: s, reader: reader, facts: wire.NewFactsReader(backendapi.MaxFactsBytes), page: page.New(s, opts.Now, opts.Logger),
		limits:    newLimits(opts.Rate, opts.MaxBatchEvents),
		metrics:   newMetrics(),
		ingesting: make(chan struct{}, maxIngesting),
		factsIn:   make(chan struct{}, maxFacts),
		streams:   make(chan struct{}, maxStreams),
		stop:      make(chan struct{}),
	}
	b.handler = b.routes(auth)
	ctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if opts.Retention > 0 {
		b.pruning.Go(func() { b.pruneRegularly(ctx) })
	}
	return b, nil
}

// Handler serves everything. It may be wrapped, but not mounted under another path.
func (b *Backend) Handler() http.Handler { return b.handler }

// StopStreams ends the streams, which would otherwise keep a graceful shutdown waiting; clients resume elsewhere or later.
func (b *Backend) StopStreams() { b.stopped.Do(func() { close(b.stop) }) }

// Close stops what runs in the background and closes the database. Requests must be over.
func (b *Backend) Close() error {
	b.StopStreams()
	b.cancel()
	b.pruning.Wait()
	return b.store.Close()
}

func (b *Backend) pruneRegularly(ctx context.Context) {
	tick := time.NewTicker(pruneInterval)
	defer tick.Stop()
	for {
		n, err := b.store.Prune(ctx, b.opts.Now().Add(-b.opts.Retention))
		b.metrics.pruned.Add(float64(n))
		if err != nil && ctx.Err() == nil {
			b.log.Warn("Old events could not be removed; trying again later", "error", err, "in", pruneInterval)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
