// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/zastava-otel/zastava/internal/backend/problem"
	"github.com/zastava-otel/zastava/internal/backend/store"
	"github.com/zastava-otel/zastava/internal/backend/wire"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

// FactPage is the answer to GET backendapi.FactsPath.
type FactPage struct {
	Facts      []store.StoredFact `json:"facts"`
	NextCursor string             `json:"nextCursor,omitempty"`
}

func (b *Backend) postFactsNDJSON(w http.ResponseWriter, r *http.Request) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		badRequest().With("query", "is not a well-formed query string").Write(w)
		return
	}
	p := params{values: values}
	in := backendapi.Facts{
		CallgraphID: p.text("callgraphId"),
		Subject: backendapi.Subject{
			ImageDigest: p.text("imageDigest"), ScanID: p.text("scanId"), Component: p.text("component"), Version: p.text("version"),
		},
	}
	_ = p.text("source")
	if fault := p.problem(); fault != nil {
		fault.Write(w)
		return
	}
	if fault := checkSubject(&in); fault != nil { // before the body is read
		fault.Write(w)
		return
	}
	b.acceptFacts(w, r, backendapi.NDJSONContentType, func(ctx context.Context, body []byte) (*backendapi.Facts, *problem.Details) {
		var fault *problem.Details
		in.Events, fault = wire.ParseNDJSON(ctx, body)
		return &in, fault
	})
}

func (b *Backend) postFacts(w http.ResponseWriter, r *http.Request) {
	b.acceptFacts(w, r, "application/json", wire.ParseFacts)
}

// checkSubject refuses what the upstream platform refuses, with its messages.
func checkSubject(in *backendapi.Facts) *problem.Details {
	refuse := func(detail, field string) *problem.Details {
		return problem.New(http.StatusBadRequest, "invalid-facts", "The facts are not valid", "%s", detail).With(field, detail)
	}
	switch {
	case in.CallgraphID == "":
		return refuse(backendapi.NoCallgraph, "callgraphId")
	case !backendapi.Fits(in.CallgraphID, backendapi.MaxName):
		return refuse("callgraphId must have at most 512 characters", "callgraphId")
	case in.Subject.Key() == "":
		return refuse(backendapi.NoSubject, "subject")
	}
	if err := in.Subject.Validate(); err != nil {
		return refuse(err.Error(), "subject")
	}
	return nil
}

// acceptFacts reads the facts of a request and stores them.
func (b *Backend) acceptFacts(w http.ResponseWriter, r *http.Request, contentType string,
	parse func(context.Context, []byte) (*backendapi.Facts, *problem.Details),
) {
	tenant, p := tenantOf(r, true)
	if p != nil {
		b.refuse(w, p)
		return
	}
	if !backendapi.Fits(r.Header.Get(backendapi.HeaderIdempotencyKey), backendapi.MaxName) {
		b.refuse(w, badRequest().With(backendapi.HeaderIdempotencyKey, "must have at most 512 characters"))
		return
	}
	leave, p := enter(r.Context(), b.places.facts, tenant, "requests with facts")
	if p != nil {
		b.refuse(w, p)
		return
	}
	defer leave()
	body, p := b.facts.Body(w, r, contentType)
	if p != nil {
		b.refuse(w, p)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), b.opts.RequestTimeout)
	defer cancel()
	in, p := b.parseFacts(ctx, tenant, body, parse)
	if p != nil {
		b.refuse(w, p)
		return
	}
	b.storeFacts(w, r.WithContext(ctx), tenant, in)
}

// parseFacts checks facts as one of few requests at a time.
func (b *Backend) parseFacts(ctx context.Context, tenant string, body []byte,
	parse func(context.Context, []byte) (*backendapi.Facts, *problem.Details),
) (*backendapi.Facts, *problem.Details) {
	leave, p := enter(ctx, b.places.cpu, tenant, "processors")
	if p != nil {
		return nil, p
	}
	defer leave()
	in, p := parse(ctx, body)
	if p != nil {
		return nil, p
	}
	return in, checkSubject(in)
}

func (b *Backend) storeFacts(w http.ResponseWriter, r *http.Request, tenant string, in *backendapi.Facts) {
	request := &store.FactsRequest{
		ID: strings.ToLower(r.Header.Get(backendapi.HeaderIdempotencyKey)), CallgraphID: in.CallgraphID, SubjectKey: in.Subject.Key(), Facts: in.Events,
	}
	repeated, err := b.store.AddFacts(r.Context(), tenant, request)
	switch {
	case errors.Is(err, store.ErrBatchReused):
		b.refuse(w, problem.New(http.StatusUnprocessableEntity, "batch-reused", "The idempotency key was used before",
			"a request with this key held other facts").With(backendapi.HeaderIdempotencyKey, "was used for other facts"))
		return
	case errors.Is(err, store.ErrFull):
		b.metrics.facts.WithLabelValues("failed").Add(float64(len(in.Events)))
		b.refuse(w, full())
		return
	case err != nil && r.Context().Err() != nil:
		b.metrics.facts.WithLabelValues("failed").Add(float64(len(in.Events)))
		b.refuse(w, problem.Stopped(r.Context()))
		return
	case err != nil:
		b.metrics.facts.WithLabelValues("failed").Add(float64(len(in.Events)))
		if !b.failing.Swap(true) {
			b.log.Error("Facts cannot be stored; clients are asked to retry", "error", err)
		}
		problem.New(http.StatusServiceUnavailable, "not-ready", "Facts cannot be stored now", "the backend's log says why").
			RetryAfter(retryStore).Write(w)
		return
	}
	outcome := "accepted"
	if repeated {
		outcome = "duplicate"
	}
	b.metrics.facts.WithLabelValues(outcome).Add(float64(len(in.Events)))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(backendapi.FactsResponse{Accepted: len(in.Events), SubjectKey: request.SubjectKey}) //nolint:errchkjson // the facts are stored; a client that is gone sends them again
}

func (b *Backend) getFacts(w http.ResponseWriter, r *http.Request) {
	p, tenant, fault := newParams(r)
	if fault != nil {
		fault.Write(w)
		return
	}
	subject := backendapi.Subject{
		ImageDigest: p.text("imageDigest"), ScanID: p.text("scanId"), Component: p.text("component"), Version: p.text("version"),
	}
	ask := store.FactQuery{
		Tenant: tenant, CallgraphID: p.text("callgraphId"), Container: p.text("containerId"), Limit: p.limit(), Cursor: p.text("cursor"),
	}
	if ask.Subject = subject.Key(); ask.Subject == "" && (subject != backendapi.Subject{} || ask.Container == "") {
		p.bad("imageDigest", "or scanId, component and version, or containerId is required")
	}
	if fault := p.problem(); fault != nil {
		fault.Write(w)
		return
	}
	facts, next, err := b.store.Facts(r.Context(), ask)
	b.answer(w, r, FactPage{append([]store.StoredFact{}, facts...), next}, err)
}
