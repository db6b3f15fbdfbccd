// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/backend/problem"
	"github.com/zastava-otel/zastava/internal/backend/store"
	"github.com/zastava-otel/zastava/internal/backend/wire"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

// The values of Retry-After.
const (
	retryBusy  = time.Second     // all slots are taken
	retryStore = 5 * time.Second // the database cannot be written
	retryFull  = time.Minute     // the database has its largest size
)

func full() *problem.Details {
	return problem.New(http.StatusInsufficientStorage, "full", "The database has its largest size",
		"nothing was stored; the operator can raise --max-db-bytes or shorten --retention").Because(problem.Full).RetryAfter(retryFull)
}

func (b *Backend) postEvents(w http.ResponseWriter, r *http.Request) {
	tenant, p := tenantOf(r, true)
	if p != nil {
		b.refuse(w, p)
		return
	}
	leave, p := enter(r.Context(), b.places.batches, tenant, "batches")
	if p != nil {
		b.refuse(w, p)
		return
	}
	defer leave()
	body, p := b.reader.Body(w, r)
	if p != nil {
		b.refuse(w, p)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), b.opts.RequestTimeout) // of the work, not of the client that sends
	defer cancel()
	r = r.WithContext(ctx)
	batch, p := b.parseBatch(r, tenant, body)
	if p != nil {
		b.refuse(w, p)
		return
	}
	b.metrics.bytes.Add(float64(batch.Bytes))
	if wait, ok := b.limits.allow(tenant, len(batch.Records), b.opts.Now()); !ok {
		b.metrics.events.WithLabelValues("limited").Add(float64(len(batch.Records)))
		b.refuse(w, problem.New(http.StatusTooManyRequests, "too-many", "The tenant sends too much",
			"at most %g events a second are accepted", b.opts.Rate).Because(problem.Rate).RetryAfter(wait))
		return
	}
	b.storeBatch(w, r, tenant, batch)
}

// parseBatch reads and checks a batch as one of few at a time.
func (b *Backend) parseBatch(r *http.Request, tenant string, body []byte) (*wire.Batch, *problem.Details) {
	leave, p := enter(r.Context(), b.places.cpu, tenant, "processors")
	if p != nil {
		return nil, p
	}
	defer leave()
	batch, p := b.reader.Parse(r.Context(), body, tenant)
	if p != nil {
		return nil, p
	}
	if key := r.Header.Get(backendapi.HeaderIdempotencyKey); key != "" && !strings.EqualFold(key, batch.ID) {
		return nil, problem.New(http.StatusUnprocessableEntity, "invalid-batch", "The batch is not valid",
			"its id and the idempotency key differ").With(backendapi.HeaderIdempotencyKey, "must equal batchId")
	}
	return batch, nil
}

func (b *Backend) storeBatch(w http.ResponseWriter, r *http.Request, tenant string, batch *wire.Batch) {
	start := time.Now()
	result, repeated, err := b.store.Ingest(r.Context(), tenant, batch.ID, batch.Records)
	switch {
	case err == nil:
	case errors.Is(err, store.ErrBatchDone):
		b.metrics.events.WithLabelValues("duplicate").Add(float64(len(batch.Records)))
		problem.New(http.StatusConflict, "batch-done", "The batch was stored before", "no retry is needed").Write(w)
		return
	case errors.Is(err, store.ErrBatchReused):
		problem.New(http.StatusUnprocessableEntity, "batch-reused", "The batch id was used before",
			"a batch with this id holds other events; a batch id stands for one list of event ids and revisions").
			With("batchId", "was used for other events").Write(w)
		return
	case errors.Is(err, store.ErrFull):
		b.metrics.events.WithLabelValues("failed").Add(float64(len(batch.Records)))
		b.refuse(w, full())
		return
	case r.Context().Err() != nil:
		b.metrics.events.WithLabelValues("failed").Add(float64(len(batch.Records)))
		b.refuse(w, problem.Stopped(r.Context()))
		return
	default:
		b.metrics.events.WithLabelValues("failed").Add(float64(len(batch.Records)))
		if !b.failing.Swap(true) {
			b.log.Error("Batches cannot be stored; clients are asked to retry", "error", err)
		}
		problem.New(http.StatusServiceUnavailable, "not-ready", "Events cannot be stored now", "the backend's log says why").
			RetryAfter(retryStore).Write(w)
		return
	}
	b.metrics.storing.Observe(time.Since(start).Seconds())
	if b.failing.Swap(false) {
		b.log.Info("Batches can be stored again")
	}
	if repeated { // the first answer, which was counted then
		b.metrics.events.WithLabelValues("duplicate").Add(float64(len(batch.Records)))
	} else {
		b.metrics.events.WithLabelValues("accepted").Add(float64(result.Accepted))
		b.metrics.events.WithLabelValues("duplicate").Add(float64(result.Duplicates))
		b.metrics.events.WithLabelValues("rejected").Add(float64(len(result.Rejected)))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(result) //nolint:errchkjson // the batch is stored; a client that is gone sends it again
}

// tenantOf returns the value of the tenant header; empty if it is absent and not required.
func tenantOf(r *http.Request, required bool) (string, *problem.Details) {
	tenant := r.Header.Get(backendapi.HeaderTenant)
	if tenant == "" && !required {
		return "", nil
	}
	var detail string
	switch {
	case tenant == "":
		detail = "is required"
	case !backendapi.ValidTenant(tenant):
		detail = "must be 1 to 128 visible ASCII characters"
	default:
		return tenant, nil
	}
	return "", problem.New(http.StatusBadRequest, "bad-request", "The request is not valid", "the tenant is missing or malformed").
		With(backendapi.HeaderTenant, detail)
}
