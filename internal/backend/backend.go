// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package backend is the embedded reference backend: it accepts runtime events as docs/api/openapi.yaml defines them, stores
// them, and shows what runs where. It answers 202 only for what is on disk, names the faulty fields of a refused request, and
// bounds what a client can make it hold. It is one process with one database file; it does not scale out.
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

// DefaultRequestTimeout is the default of Options.RequestTimeout. An honest batch takes milliseconds, a query of a large database
// seconds.
const DefaultRequestTimeout = 10 * time.Second

const (
	// bodyTimeout bounds the reading of a request's body from the network.
	bodyTimeout = 30 * time.Second
	// pruneInterval is the time between two removals of events older than the retention.
	pruneInterval = 10 * time.Minute
)

// Options of a backend. The zero value of each field but DB means its default.
type Options struct {
	DB             string           // path of the database file
	TokenFile      string           // path of the bearer tokens, see ParseTokens; read again when it changes; "" = no authentication
	Retention      time.Duration    // events received longer ago are removed; 0 = never
	MaxSize        store.Cap        // of the database's files; zero = without limit
	Rate           float64          // events a second and tenant; 0 = no limit
	MaxBatchEvents int              // 0 = backendapi.MaxEventsPerBatch
	MaxBatchBytes  int64            // of uncompressed JSON; 0 = backendapi.MaxBatchBytes
	LocalHostOnly  bool             // refuse Host headers other than addresses and localhost: see isLocalHost
	Heartbeat      time.Duration    // between two heartbeats of a stream; 0 = 15 s
	WriteTimeout   time.Duration    // within which a client must read a message of a stream, or 64 KiB of another answer; 0 = 10 s
	RequestTimeout time.Duration    // of the work for a request, without the time for its body and its answer; 0 = 10 s
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

	places  places
	failing atomic.Bool // the last batch could not be stored

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
	opts.RequestTimeout = cmp.Or(opts.RequestTimeout, DefaultRequestTimeout)
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
	s, err := store.OpenCapped(ctx, opts.DB, opts.Now, opts.MaxSize)
	if err != nil {
		return nil, fmt.Errorf("start the backend: %w", err)
	}
	auth, err := newAuthenticator(opts.TokenFile, opts.Now, opts.Logger)
	if err != nil {
		return nil, fmt.Errorf("start the backend: %w", errors.Join(err, s.Close()))
	}
	b := &Backend{
		opts: opts, log: opts.Logger, store: s, reader: reader, facts: wire.NewFactsReader(backendapi.MaxFactsBytes), page: page.New(s, opts.Now, opts.Logger),
		limits:  newLimits(opts.Rate, opts.MaxBatchEvents),
		metrics: newMetrics(s),
		places:  newPlaces(),
		stop:    make(chan struct{}),
	}
	b.handler = b.routes(auth)
	ctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if opts.Retention > 0 {
		b.pruning.Go(func() { b.pruneRegularly(ctx) })
	}
	return b, nil
}

// Handler returns the handler of the API and the page. It may be wrapped, but not mounted under another path.
func (b *Backend) Handler() http.Handler { return b.handler }

// StopStreams ends the streams, for which a graceful shutdown would wait otherwise. Clients resume later.
func (b *Backend) StopStreams() { b.stopped.Do(func() { close(b.stop) }) }

// Close stops the removal of old events and closes the database. The caller ends all requests before.
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
			b.log.Warn("Old events could not be removed; the next attempt follows", "error", err, "in", pruneInterval)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
