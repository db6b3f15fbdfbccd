// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package page

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/backend/store"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

const (
	maxRows   = 500 // containers on the overview
	maxFeed   = 60  // events beside it
	maxEvents = 200 // events of one container
	maxQuery  = 256 // bytes of the filter
	// shownTime is the time before now that the small timelines and the count of OOM kills cover.
	shownTime = time.Hour
)

// frame is the part that all pages have.
type frame struct {
	Title  string
	Stream string // URL of the event stream, from just after the events that the page shows
	Facts  string // the subject whose facts the page shows, anySubject for any; empty if it shows none
	Now    time.Time
}

type overviewView struct {
	frame
	Summary store.Summary
	Query   string
	Show    string // current, problems or all
	Rows    []row
	More    bool // there are more than Rows
	Feed    []feedItem
}

// row is a container of the overview.
type row struct {
	store.Container
	Status status
	Path   string
	Exit   *outcome
	Line   timeline
}

type containerView struct {
	frame
	store.Detail
	Status status
	Exit   *outcome
	Line   timeline
	Table  []runRow
	Files  []load // the code that it loads, from facts
	Image  string // path of its image's page; empty if the digest is unknown
	Feed   []feedItem
}

type runRow struct {
	store.Run
	Outcome  outcome
	Duration string
	Other    bool   // belongs to another attempt than the one shown
	Path     string // of its page
}

type missingView struct {
	ID        string
	Ambiguous bool
}

func (p *Page) frame(ctx context.Context, title string) (frame, error) {
	last, _, err := p.store.Bounds(ctx)
	if err != nil {
		return frame{}, err
	}
	return frame{Title: title, Stream: fmt.Sprintf("%s/stream?lastEventId=%d", backendapi.EventsPath, last), Now: p.now().UTC()}, nil
}

// anySubject is the subject of a page whose facts may be about any subject.
const anySubject = "*"

// followFacts makes the page follow the facts of a subject as well.
func (f *frame) followFacts(subject string) {
	f.Facts = subject
	f.Stream += "&facts=true"
}

func (p *Page) overview(ctx context.Context, r *http.Request) (*overviewView, error) {
	tenant := tenantOf(r)
	v := &overviewView{Query: r.FormValue("q"), Show: r.FormValue("show")}
	if len(v.Query) > maxQuery {
		v.Query = strings.ToValidUTF8(v.Query[:maxQuery], "")
	}
	if v.Show != "all" && v.Show != "problems" {
		v.Show = "current"
	}
	var err error
	if v.frame, err = p.frame(ctx, "Containers"); err != nil {
		return nil, err
	}
	since := v.Now.Add(-shownTime)
	if v.Summary, err = p.store.Summary(ctx, tenant, since); err != nil {
		return nil, err
	}
	found, next, err := p.store.Containers(ctx, store.ContainerQuery{
		Tenant: tenant, Text: v.Query, Current: v.Show != "all", Problems: v.Show == "problems", Limit: maxRows,
	})
	if err != nil {
		return nil, err
	}
	v.More = next != ""
	runs, err := p.store.Runs(ctx, found, since)
	if err != nil {
		return nil, err
	}
	for _, c := range found {
		v.Rows = append(v.Rows, row{
			Container: c, Status: statusOf(&c), Path: url.PathEscape(c.ContainerID), Exit: lastExit(&c),
			Line: drawLine(runs[c.ContainerID], since, v.Now, false),
		})
	}
	slices.SortStableFunc(v.Rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.Status.weight, b.Status.weight), cmp.Compare(a.Namespace, b.Namespace),
			cmp.Compare(a.Pod, b.Pod), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ContainerID, b.ContainerID))
	})
	v.Feed, err = p.feed(ctx, store.EventQuery{EventFilter: store.EventFilter{Tenant: tenant}, Limit: maxFeed})
	return v, err
}

func (p *Page) container(ctx context.Context, r *http.Request, id string) (*containerView, error) {
	d, err := p.store.Container(ctx, tenantOf(r), id)
	if err != nil {
		return nil, err
	}
	v := &containerView{Detail: *d, Status: statusOf(&d.Container), Exit: lastExit(&d.Container)}
	// Other attempts have other container ids, so the page follows the stream of all containers.
	if v.frame, err = p.frame(ctx, nameOf(&d.Container)); err != nil {
		return nil, err
	}
	v.Line = drawLine(d.Runs, time.Time{}, v.Now, true)
	for _, run := range d.Runs {
		v.Table = append(v.Table, runRow{
			Run: run, Outcome: outcomeOf(run.Ended, &run.End), Duration: durationOf(&run, v.Now),
			Other: run.ContainerID != d.ContainerID, Path: url.PathEscape(run.ContainerID),
		})
	}
	v.Files = loadsOf(d.Loads)
	v.followFacts(anySubject) // without a digest, the subject is a name and version that only the sender of the facts knows
	if d.ImageDigest != "" {
		v.Image = url.PathEscape(d.ImageDigest)
		v.Facts = (&backendapi.Subject{ImageDigest: d.ImageDigest}).Key()
	}
	v.Feed, err = p.feed(ctx, store.EventQuery{
		EventFilter: store.EventFilter{Tenant: d.Tenant, Container: d.ContainerID}, Limit: maxEvents,
	})
	return v, err
}

func (p *Page) feed(ctx context.Context, ask store.EventQuery) ([]feedItem, error) {
	events, _, err := p.store.Events(ctx, ask)
	if err != nil {
		return nil, err
	}
	out := make([]feedItem, 0, len(events))
	for i := range events {
		var e backendapi.Event
		if err := json.Unmarshal(events[i].Body, &e); err != nil {
			return nil, fmt.Errorf("decode a stored event: %w", err)
		}
		out = append(out, itemOf(&e))
	}
	return out, nil
}
