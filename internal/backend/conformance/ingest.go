// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// ingestChecks send valid events, which the server must store once and count correctly.
func ingestChecks() []check {
	return []check{
		{"accepts", "a gzip batch is answered with 202 and counts that add up", Must, accepts},
		{"accepts-plain", "a batch that is not compressed is accepted", Must, acceptsPlain},
		{"accepts-minimal", "an event of the required fields alone is accepted", Must, acceptsMinimal},
		{"accepts-full", "an event of all fields, numbers at their limits included, is accepted", Must, acceptsFull},
		{"accepts-kinds", "every kind of event is accepted", Must, acceptsKinds},
		{"full-batch", "a batch of 256 events is accepted", Must, fullBatch},
		{"repeated-batch", "the same batch again is answered with 202 or 409", Must, repeatedBatch},
		{"repeated-answer", "the same batch again is answered as the first time, so that a client that lost the answer learns the rejected events", Should, repeatedAnswer},
		{"known-events", "known events in another batch count as duplicates", Must, knownEvents},
		{"revision", "a higher revision of a known event is accepted", Must, revision},
		{"late-revision", "a lower revision that arrives late is accepted or counted as a duplicate", Must, lateRevision},
		{"out-of-order", "events of a container may arrive in any order", Must, outOfOrder},
		{"id-conflict", "an event id of another container does not prevent the rest of its batch from being stored", Should, idConflict},
		{"batch-id-reused", "a batch id with other events is not answered as done", Must, batchIDReused},
		{"parallel", "eight batches at a time are accepted, at once or after 429 or 503", Must, parallel},
	}
}

func accepts(ctx context.Context, s *session) (string, error) {
	l := s.life()
	a, err := s.post(ctx, batch(l.start(), l.stop()))
	if err != nil {
		return "", err
	}
	in, err := ingested(a, 2)
	if err != nil {
		return "", err
	}
	if in.Accepted != 2 {
		return "", fmt.Errorf("two new events were not both accepted: it %s", a)
	}
	return a.String(), nil
}

func acceptsPlain(ctx context.Context, s *session) (string, error) {
	l := s.life()
	s.sent.Add(2)
	a, err := s.postRaw(ctx, batch(l.start(), l.stop()).AppendCanonical(nil), nil) // and without an idempotency key
	if err != nil {
		return "", err
	}
	_, err = ingested(a, 2)
	return a.String(), err
}

func acceptsMinimal(ctx context.Context, s *session) (string, error) {
	l := s.life()
	e := l.stop()
	e.Runtime.Version, e.Run = "", nil
	e.Workload = &backendapi.Workload{ContainerID: l.uri()}
	e.Observation = backendapi.Observation{Source: "inventory"}
	return "", s.store(ctx, e)
}

func acceptsFull(ctx context.Context, s *session) (string, error) {
	l := s.life()
	return "", s.store(ctx, l.start(), l.full())
}

func acceptsKinds(ctx context.Context, s *session) (string, error) {
	kinds := backendapi.Kinds()
	if s.o.CoreKinds {
		kinds = []backendapi.Kind{backendapi.KindStart, backendapi.KindStop}
	}
	var refused []string
	for _, kind := range kinds {
		l := s.life()
		if err := s.store(ctx, l.ofKind(kind)); err != nil {
			refused = append(refused, string(kind)+": "+err.Error())
			continue
		}
		if kind != backendapi.KindRemove && kind != backendapi.KindObserverGap && !s.o.CoreKinds {
			if err := s.store(ctx, l.ofKind(backendapi.KindRemove)); err != nil { // no container may seem to run afterwards
				refused = append(refused, err.Error())
			}
		}
	}
	if len(refused) > 0 {
		return "", fmt.Errorf("%s; for a server with a closed list set event_kinds: core in the exporter", strings.Join(refused, "; "))
	}
	return fmt.Sprintf("%d kinds", len(kinds)), nil
}

func fullBatch(ctx context.Context, s *session) (string, error) {
	var events []backendapi.Event
	for len(events) < backendapi.MaxEventsPerBatch {
		l := s.life()
		events = append(events, l.start(), l.stop())
	}
	return "", s.store(ctx, events...)
}

func repeatedBatch(ctx context.Context, s *session) (string, error) {
	l := s.life()
	b := batch(l.start(), l.stop())
	if err := s.store(ctx, l.start(), l.stop()); err != nil {
		return "", err
	}
	a, err := s.post(ctx, b)
	if err != nil || a.status == http.StatusConflict {
		return conclude(a, err)
	}
	_, err = ingested(a, 2)
	return a.String(), err
}

func conclude(a *answer, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return a.String(), nil
}

// conflicting stores an event and returns a batch with a valid event, and one of the same id about another container.
func (s *session) conflicting(ctx context.Context) (*backendapi.Batch, string, error) {
	known, other, good := s.life(), s.life(), s.life()
	if err := s.store(ctx, known.stop()); err != nil {
		return nil, "", err
	}
	e := other.stop()
	e.EventID = known.stop().EventID
	return batch(good.stop(), e), e.EventID, nil
}

func idConflict(ctx context.Context, s *session) (string, error) {
	b, id, err := s.conflicting(ctx)
	if err != nil {
		return "", err
	}
	a, err := s.post(ctx, b)
	if err != nil {
		return "", err
	}
	in, err := ingested(a, 2)
	if err != nil {
		return "", err
	}
	if in.Accepted != 1 || len(in.Rejected) != 1 || !strings.EqualFold(in.Rejected[0].EventID, id) || in.Rejected[0].Code == "" {
		return "", fmt.Errorf("one event must be accepted and %s rejected with a code: it %s", id, a)
	}
	return a.String(), nil
}

func repeatedAnswer(ctx context.Context, s *session) (string, error) {
	b, _, err := s.conflicting(ctx)
	if err != nil {
		return "", err
	}
	first, err := s.post(ctx, b)
	if err != nil {
		return "", err
	}
	was, err := ingested(first, 2)
	if err != nil {
		return "", skipError("needs a batch with a rejected event: the server " + first.String())
	}
	again, err := s.post(ctx, b)
	if err != nil {
		return "", err
	}
	is, err := ingested(again, 2)
	if err != nil {
		return "", err
	}
	if is.Accepted != was.Accepted || is.Duplicates != was.Duplicates || !slices.Equal(is.Rejected, was.Rejected) {
		return "", fmt.Errorf("first it %s, then it %s", first, again)
	}
	return again.String(), nil
}

func knownEvents(ctx context.Context, s *session) (string, error) {
	known, l := s.life(), s.life()
	if err := s.store(ctx, known.start(), known.stop()); err != nil {
		return "", err
	}
	a, err := s.post(ctx, batch(known.stop(), l.stop(), known.start()))
	if err != nil {
		return "", err
	}
	in, err := ingested(a, 3)
	if err == nil && (in.Accepted != 1 || in.Duplicates != 2) {
		err = fmt.Errorf("one new event and two known ones: it %s", a)
	}
	return a.String(), err
}

func revision(ctx context.Context, s *session) (string, error) {
	l := s.life()
	if err := s.store(ctx, l.start(), l.stop()); err != nil {
		return "", err
	}
	better := l.stop()
	better.Revision, better.Run.Reason = 1, "Evicted"
	a, err := s.post(ctx, batch(better))
	if err != nil {
		return "", err
	}
	in, err := ingested(a, 1)
	if err == nil && in.Accepted != 1 {
		err = fmt.Errorf("a higher revision of a known event is not a duplicate: it %s", a)
	}
	return a.String(), err
}

func lateRevision(ctx context.Context, s *session) (string, error) {
	l := s.life()
	better := l.stop()
	better.Revision = 2
	return "", errors.Join(s.store(ctx, better), s.store(ctx, l.stop()))
}

func outOfOrder(ctx context.Context, s *session) (string, error) {
	l := s.life()
	return "", errors.Join(s.store(ctx, l.stop()), s.store(ctx, l.start()))
}

func batchIDReused(ctx context.Context, s *session) (string, error) {
	first, other := s.life(), s.life()
	b := batch(first.stop())
	if a, err := s.post(ctx, b); err != nil || a.status != http.StatusAccepted {
		return "", skipError("needs a batch that is accepted")
	}
	reused := batch(other.stop())
	reused.BatchID = b.BatchID
	a, err := s.post(ctx, reused)
	if err != nil {
		return "", err
	}
	switch a.status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return a.String(), nil
	case http.StatusAccepted:
		again, err := s.post(ctx, batch(other.stop()))
		if err != nil {
			return "", err
		}
		if in, err := ingested(again, 1); err == nil && in.Duplicates == 1 {
			return "it compares the events, and stored the other", nil
		}
	}
	return "", fmt.Errorf("the other event would be lost: it %s", a)
}

func parallel(ctx context.Context, s *session) (string, error) {
	const clients, batches = 8, 4
	faults := make([]error, clients)
	var work sync.WaitGroup
	for c := range clients {
		work.Go(func() {
			for range batches {
				l, other := s.life(), s.life()
				b := batch(l.start(), l.stop(), other.start(), other.stop())
				b.BatchID = uuid.NewString()
				a, err := s.post(ctx, b)
				if err == nil {
					_, err = ingested(a, 4)
				}
				if err != nil {
					faults[c] = err
					return
				}
			}
		})
	}
	work.Wait()
	return fmt.Sprintf("%d batches", clients*batches), errors.Join(faults...)
}
