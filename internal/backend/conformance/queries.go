// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// The paths of the queries.
const (
	containersPath = "/api/v1/containers"
	imagesPath     = "/api/v1/images"
)

// queryChecks query the events, containers and images.
func queryChecks() []check {
	return []check{
		{"list", "events are listed, newest first, as they were sent, with receivedAt and batchId", May, list},
		{"list-pages", "pages by limit and cursor return each event once, whatever arrives meanwhile", May, listPages},
		{"list-filters", "kind, namespace, container, since and until filter", May, listFilters},
		{"list-revisions", "an event is listed in its latest revision, with revisions=all in each", May, listRevisions},
		{"list-refusals", "an unknown parameter and an invalid value are answered with 400", May, listRefusals},
		{"containers", "containers are listed with the state derived from their events", May, containers},
		{"container", "a container is returned by its id; an unknown one is answered with 404", May, container},
		{"images", "images are listed", May, images},
	}
}

// stored is an event as queries return it.
type stored struct {
	backendapi.Event
	ReceivedAt time.Time `json:"receivedAt"`
	BatchID    string    `json:"batchId"`
}

type eventPage struct {
	Events     []stored `json:"events"`
	NextCursor string   `json:"nextCursor"`
}

// get requests JSON. For an absent endpoint it returns errAbsent.
func get[T any](ctx context.Context, s *session, path string, query url.Values) (T, *answer, error) {
	var out T
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	a, err := s.do(ctx, http.MethodGet, path, nil, nil)
	switch {
	case err != nil:
		return out, nil, err
	case a.notServed():
		return out, a, errAbsent
	case a.status != http.StatusOK:
		return out, a, fmt.Errorf("GET %s %s", path, a)
	}
	if err := json.Unmarshal(a.body, &out); err != nil {
		return out, a, fmt.Errorf("GET %s: the answer is not JSON of the API: %s", path, shown(err.Error()))
	}
	return out, a, nil
}

func (s *session) list(ctx context.Context, query url.Values) (*eventPage, error) {
	p, _, err := get[eventPage](ctx, s, s.o.EventsPath, query)
	return &p, err
}

// storedLife stores the life of a container and returns it, unless the server has no queries.
func (s *session) storedLife(ctx context.Context) (life, error) {
	l := s.life()
	if _, err := s.list(ctx, url.Values{"limit": {"1"}}); err != nil {
		return l, err
	}
	return l, s.store(ctx, l.ofKind(backendapi.KindCreate), l.start(), l.stop(), l.ofKind(backendapi.KindRemove))
}

// kindsOf returns the kinds of the events of a page.
func kindsOf(p *eventPage) string {
	var kinds []string
	for i := range p.Events {
		kinds = append(kinds, string(p.Events[i].Kind))
	}
	return strings.Join(kinds, " ")
}

func expectKinds(p *eventPage, err error, kinds ...backendapi.Kind) error {
	if err != nil {
		return err
	}
	var names []string
	for _, k := range kinds {
		names = append(names, string(k))
	}
	if got, expected := kindsOf(p), strings.Join(names, " "); got != expected {
		return fmt.Errorf("want the events %s, but it returned %q", expected, got)
	}
	return nil
}

func list(ctx context.Context, s *session) (string, error) {
	l, err := s.storedLife(ctx)
	if err != nil {
		return "", err
	}
	p, err := s.list(ctx, url.Values{"container": {l.uri()}})
	if err := expectKinds(p, err, backendapi.KindRemove, backendapi.KindStop, backendapi.KindStart, backendapi.KindCreate); err != nil {
		return "", err
	}
	got, sent := p.Events[1], l.stop()
	if g, w := string(got.Event.AppendCanonical(nil)), string(sent.AppendCanonical(nil)); g != w {
		return "", fmt.Errorf("sent %s, listed %s", w, g)
	}
	if got.ReceivedAt.IsZero() || got.BatchID == "" {
		return "", errors.New("an event is listed without receivedAt or batchId")
	}
	return "", nil
}

func listPages(ctx context.Context, s *session) (string, error) {
	l, err := s.storedLife(ctx)
	if err != nil {
		return "", err
	}
	var all eventPage
	query := url.Values{"namespace": {s.namespace()}, "container": {l.uri()}, "limit": {"1"}}
	for pages := 0; ; pages++ {
		p, err := s.list(ctx, query)
		if err != nil {
			return "", err
		}
		if len(p.Events) > 1 || pages > 4 {
			return "", fmt.Errorf("pages of one event: page %d has %d", pages+1, len(p.Events))
		}
		all.Events = append(all.Events, p.Events...)
		if p.NextCursor == "" {
			break
		}
		query.Set("cursor", p.NextCursor)
		if pages == 0 {
			if err := s.store(ctx, l.ofKind(backendapi.KindPause)); err != nil { // within the remaining pages
				return "", err
			}
		}
	}
	return fmt.Sprintf("%d pages", len(all.Events)),
		expectKinds(&all, nil, backendapi.KindRemove, backendapi.KindStop, backendapi.KindStart, backendapi.KindCreate)
}

func listFilters(ctx context.Context, s *session) (string, error) {
	l, err := s.storedLife(ctx)
	if err != nil {
		return "", err
	}
	of := func(more ...string) url.Values {
		q := url.Values{"container": {l.uri()}}
		for i := 0; i < len(more); i += 2 {
			q.Add(more[i], more[i+1])
		}
		return q
	}
	const form = "2006-01-02T15:04:05.999999999Z"
	for _, c := range []struct {
		query url.Values
		kinds []backendapi.Kind
	}{
		{of("kind", "CONTAINER_STOP"), []backendapi.Kind{backendapi.KindStop}},
		{of("kind", "CONTAINER_STOP", "kind", "CONTAINER_CREATE"), []backendapi.Kind{backendapi.KindStop, backendapi.KindCreate}},
		{of("namespace", s.namespace(), "kind", "CONTAINER_START"), []backendapi.Kind{backendapi.KindStart}},
		{of("namespace", s.namespace()+"-other"), nil},
		{of("since", l.stopped().Format(form)), []backendapi.Kind{backendapi.KindRemove, backendapi.KindStop}},
		{of("until", l.stopped().Format(form)), []backendapi.Kind{backendapi.KindStart, backendapi.KindCreate}},
		{url.Values{"container": {l.id}, "kind": {"CONTAINER_START"}}, []backendapi.Kind{backendapi.KindStart}},
	} {
		p, err := s.list(ctx, c.query)
		if err := expectKinds(p, err, c.kinds...); err != nil {
			return "", fmt.Errorf("%s: %w", c.query.Encode(), err)
		}
	}
	return "", nil
}

func listRevisions(ctx context.Context, s *session) (string, error) {
	l, err := s.storedLife(ctx)
	if err != nil {
		return "", err
	}
	better := l.stop()
	better.Revision, better.Run.Reason = 1, "Evicted"
	if err := s.store(ctx, better); err != nil {
		return "", err
	}
	query := url.Values{"container": {l.uri()}, "kind": {"CONTAINER_STOP"}}
	p, err := s.list(ctx, query)
	if err := expectKinds(p, err, backendapi.KindStop); err != nil {
		return "", err
	}
	if p.Events[0].Revision != 1 || p.Events[0].Run == nil || p.Events[0].Run.Reason != "Evicted" {
		return "", fmt.Errorf("revision %d is listed, not the latest", p.Events[0].Revision)
	}
	query.Set("revisions", "all")
	p, err = s.list(ctx, query)
	return "", expectKinds(p, err, backendapi.KindStop, backendapi.KindStop)
}

func listRefusals(ctx context.Context, s *session) (string, error) {
	if _, err := s.list(ctx, url.Values{"limit": {"1"}}); err != nil {
		return "", err
	}
	var accepted []string
	for _, query := range []string{"knid=CONTAINER_STOP", "kind=CONTAINER_EXPLODE", "limit=0", "limit=x", "since=yesterday", "cursor=%25%25", "revisions=some"} {
		a, err := s.do(ctx, http.MethodGet, s.o.EventsPath+"?"+query, nil, nil)
		if err != nil {
			return "", err
		}
		if a.status != http.StatusBadRequest && a.status != http.StatusUnprocessableEntity {
			accepted = append(accepted, fmt.Sprintf("?%s is answered with %d", query, a.status))
		}
	}
	if len(accepted) > 0 {
		return "", errors.New(strings.Join(accepted, "; "))
	}
	return "", nil
}
