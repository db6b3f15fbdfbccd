// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"context"
	"errors"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/zastava-otel/zastava/internal/backend/admission"
	"github.com/zastava-otel/zastava/internal/backend/problem"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

// The places of requests by kind. A tenant has at most half of them, so that another one always finds some; requests wait a moment for
// one, because most take milliseconds.
var (
	// A batch that is read and checked may need some five times its limit in bytes: compressed, uncompressed, as a tree, as events, as
	// stored.
	batchPlaces = admission.Limits{Places: 8, PerTenant: 4, Waiting: 32, Wait: 2 * time.Second}
	// Requests with facts are large. They have a few places of their own, so that facts never keep events out.
	factPlaces = admission.Limits{Places: 2, PerTenant: 1, Waiting: 8, Wait: 2 * time.Second}
	// A query holds its answer while the client reads it, so these bound memory too.
	queryPlaces = admission.Limits{Places: 8, PerTenant: 4, Waiting: 32, Wait: 5 * time.Second}
	// Streams last: none waits for the end of another one.
	streamPlaces = admission.Limits{Places: 64, PerTenant: 16}
)

// cpuPlaces bounds the bodies that are checked at the same time to the processors, and those of a tenant to half of them: the check is
// what costs processor time. Requests that wait for the network or the disk do not count.
func cpuPlaces() admission.Limits {
	n := runtime.GOMAXPROCS(0)
	return admission.Limits{Places: max(n, 2), PerTenant: max(n/2, 1), Waiting: batchPlaces.Places + factPlaces.Places, Wait: time.Minute}
}

// places bound the requests that are handled at the same time, by kind.
type places struct{ batches, facts, queries, streams, cpu *admission.Queue }

func newPlaces() places {
	return places{
		batches: admission.New(batchPlaces), facts: admission.New(factPlaces), queries: admission.New(queryPlaces),
		streams: admission.New(streamPlaces), cpu: admission.New(cpuPlaces()),
	}
}

// enter waits for a place. what names the requests of the kind.
func enter(ctx context.Context, q *admission.Queue, tenant, what string) (leave func(), _ *problem.Details) {
	leave, err := q.Enter(ctx, tenant)
	switch {
	case err == nil:
		return leave, nil
	case errors.Is(err, admission.ErrTenant):
		return nil, problem.New(http.StatusTooManyRequests, "too-many", "The tenant has too many requests at once",
			"it has all the %s that one tenant may have; send fewer at a time", what).Because(problem.TenantBusy).RetryAfter(retryBusy)
	case errors.Is(err, admission.ErrBusy):
		return nil, problem.New(http.StatusServiceUnavailable, "busy", "Too many requests at once",
			"all places for %s are taken", what).Because(problem.Busy).RetryAfter(retryBusy)
	default:
		return nil, problem.Stopped(ctx)
	}
}

// readerOf returns whose places a query uses: those of the tenant or, if it shows all, of the client's address, so that a program
// without a tenant cannot keep a person from looking.
func readerOf(r *http.Request) string {
	if tenant := r.Header.Get(backendapi.HeaderTenant); tenant != "" {
		return tenant
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	return " " + host // no tenant has a space
}

// query admits a query, and bounds its work in time.
func (b *Backend) query(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leave, p := enter(r.Context(), b.places.queries, readerOf(r), "queries")
		if p != nil {
			b.refuse(w, p)
			return
		}
		defer leave()
		ctx, cancel := context.WithTimeout(r.Context(), b.opts.RequestTimeout)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// refuse answers with a problem, and counts its reason.
func (b *Backend) refuse(w http.ResponseWriter, p *problem.Details) {
	if p.Reason != problem.Invalid {
		b.metrics.refused.WithLabelValues(string(p.Reason)).Inc()
	}
	p.Write(w)
}
