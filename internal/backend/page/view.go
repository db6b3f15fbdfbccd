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
	// lookBack is what the small timelines and the count of OOM kills span.
	lookBack = time.Hour
)

// frame is what every page has.
type frame struct {
	Title  string
	Stream string // the event stream to follow, from just after what the page shows
	Facts  string // the subject whose facts the page shows, anySubject for any; empty: it shows none
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
	Files  []load // what it loads, from facts
	Image  string // path of its image's page; empty where the digest is not known
	Feed   []feedItem
}

type runRow struct {
	store.Run
	Outcome  outcome
	Duration string
	Other    bool   // of another attempt than the one shown
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

// anySubject stands for the subject of a page whose facts may be about any.
const anySubject = "*"

// showsFacts has the page follow the facts of a subject as well.
func (f *frame) showsFacts(subject string) {
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
	since := v.Now.Add(-lookBack)
	if v.Summary, err = p.store.Summary(ctx, tenant, since); err != nil {
		return nil, err
	}
	found, next, err := p.store.Containers(ctx, store.ContainerQuery{
		Tenant: tenant, Text: v.Query, Current: v.Show != "all", Trouble: v.Show == "problems", Limit: maxRows,
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
	// Attempts have other ids, so the stream of all containers tells of them; this one's alone would not.
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
	v.showsFacts(anySubject) // where the digest is not known, they are about a name and version that only their sender knows
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
			return nil, fmt.Errorf("read a stored event: %w", err)
		}
		out = append(out, itemOf(&e))
	}
	return out, nil
}
