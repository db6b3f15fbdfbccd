// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/backend/projection"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

// touched is what a batch may have changed: the runs of each container, and the identities whose crash loops it reports.
type touched struct {
	containers map[string]*touchedContainer
	loops      map[string]struct{}
}

type touchedContainer struct {
	runs       map[int64]struct{}
	firstSeq   int64
	events     []*backendapi.Event // of the batch, without those that have a later revision
	superseded bool                // the batch has a later revision of a stored event
}

func newTouched() *touched {
	return &touched{containers: map[string]*touchedContainer{}, loops: map[string]struct{}{}}
}

// add notes that the event, which is stored as seq, changes its container.
func (t *touched) add(e *backendapi.Event, seq int64) {
	id := containerIDOf(e)
	if id == "" {
		return
	}
	c := t.note(id, projection.RunKey(e), seq)
	c.events = append(c.events, e)
	if e.Kind == backendapi.KindCrashLoop || e.Kind == backendapi.KindCrashLoopEnd {
		t.loops[projection.Identity(e.Workload)] = struct{}{}
	}
}

// note notes a run of a container. For an empty id it returns an entry that is not kept: an event without a container changes
// nothing that is derived.
func (t *touched) note(containerID string, run, seq int64) *touchedContainer {
	if containerID == "" {
		return &touchedContainer{}
	}
	c := t.containers[containerID]
	if c == nil {
		c = &touchedContainer{runs: map[int64]struct{}{}, firstSeq: seq}
		t.containers[containerID] = c
	}
	c.runs[run] = struct{}{}
	return c
}

// project derives the state of everything that the batch touched again from the events themselves, so that their order of
// arrival does not matter.
func (in *ingestion) project(ctx context.Context) error {
	for _, id := range slices.Sorted(maps.Keys(in.touched.containers)) {
		if err := in.projectContainer(ctx, id, in.touched.containers[id]); err != nil {
			return fmt.Errorf("derive the state of container %s: %w", id, err)
		}
	}
	for identity := range in.touched.loops {
		if err := in.projectLoop(ctx, identity); err != nil {
			return fmt.Errorf("derive the crash loop of %s: %w", identity, err)
		}
	}
	return nil
}

func (in *ingestion) projectContainer(ctx context.Context, id string, t *touchedContainer) error {
	isNew, err := in.isNew(ctx, id, t)
	if err != nil {
		return err
	}
	var byRun map[int64][]*backendapi.Event
	var latest, lastEvent int64
	if isNew {
		byRun, latest, lastEvent = runsOf(t.events)
	} else if byRun, latest, lastEvent, err = in.loadRuns(ctx, id, t.runs); err != nil {
		return err
	}
	c := projection.Fold(byRun[0], byRun[latest])
	if latest == 0 {
		c = projection.Fold(byRun[0], nil) // it is the same list
	}
	for run, events := range byRun {
		if err := in.storeRun(ctx, id, c.Identity, run, events, isNew); err != nil {
			return err
		}
	}
	_, bare, _ := strings.Cut(id, "://")
	_, err = in.containers.put.ExecContext(ctx, in.tenant, id, bare, t.firstSeq, in.now, c.Engine, c.Node, c.Identity, c.Name,
		c.Namespace, c.Pod, c.PodUID, c.ImageRef, c.ImageDigest, c.ImageID, c.State, nanos(c.Run.StartedAt),
		optionalNanos(c.Run.FinishedAt), optional(c.Run.ExitCode), c.Run.Signal, c.Run.Reason, c.Run.OOMKilled,
		optional(c.Run.RestartCount), nanos(c.Position), max(nanos(c.LastEventAt), lastEvent))
	return err
}

func (in *ingestion) storeRun(ctx context.Context, id, identity string, key int64, events []*backendapi.Event, isNew bool) error {
	run, ok := projection.FoldRun(events)
	if !ok {
		if isNew {
			return nil // no row to delete
		}
		_, err := in.runs.drop.ExecContext(ctx, in.tenant, id, key)
		return err
	}
	_, err := in.runs.put.ExecContext(ctx, in.tenant, id, key, identity, run.Ended, nanos(run.FinishedAt), optional(run.ExitCode),
		run.Signal, run.Reason, run.OOMKilled, optional(run.RestartCount))
	return err
}

// isNew reports whether the store has no other events of a container than those of this batch. A container has a row from its
// first event on, and retention removes the row last.
func (in *ingestion) isNew(ctx context.Context, id string, t *touchedContainer) (bool, error) {
	if t.superseded {
		return false, nil
	}
	var one int
	err := in.containers.find.QueryRowContext(ctx, in.tenant, id).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return true, nil
	}
	return false, err
}

// runsOf groups the events of a container by run, and keeps those that a run is derived from, as loadRuns does: the events that
// fold, or the latest of the others. It also returns the latest run, and when its latest event happened.
func runsOf(events []*backendapi.Event) (byRun map[int64][]*backendapi.Event, latest, lastEvent int64) {
	byRun, others := map[int64][]*backendapi.Event{}, map[int64]*backendapi.Event{}
	latest, lastEvent = math.MinInt64, math.MinInt64
	for _, e := range events {
		run, when := projection.RunKey(e), e.When.UnixNano()
		if run > latest || (run == latest && when > lastEvent) {
			latest, lastEvent = run, when
		}
		if projection.Folds(e.Kind) {
			byRun[run] = append(byRun[run], e)
		} else if o := others[run]; o == nil || cmp.Or(e.When.Compare(o.When), cmp.Compare(e.EventID, o.EventID)) > 0 {
			others[run] = e
		}
	}
	for run, e := range others {
		if len(byRun[run]) == 0 {
			byRun[run] = []*backendapi.Event{e}
		}
	}
	return byRun, latest, lastEvent
}

// loadRuns loads the events that the given runs are derived from, those of the latest run, and those that belong to no run,
// which decide the container's state too.
func (in *ingestion) loadRuns(ctx context.Context, id string, runs map[int64]struct{}) (
	byRun map[int64][]*backendapi.Event, latest, lastEvent int64, err error,
) {
	if err := in.runs.latest.QueryRowContext(ctx, in.tenant, id).Scan(&latest, &lastEvent); err != nil {
		return nil, 0, 0, err
	}
	runs[latest], runs[0] = struct{}{}, struct{}{}
	byRun = make(map[int64][]*backendapi.Event, len(runs))
	for run := range runs {
		events, err := in.loadEvents(in.runs.events.QueryContext(ctx, in.tenant, id, run))
		if err == nil && len(events) == 0 {
			events, err = in.loadEvents(in.runs.lastEvent.QueryContext(ctx, in.tenant, id, run))
		}
		if err != nil {
			return nil, 0, 0, err
		}
		byRun[run] = events
	}
	return byRun, latest, lastEvent, nil
}

func (in *ingestion) loadEvents(rows *sql.Rows, err error) ([]*backendapi.Event, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*backendapi.Event
	for rows.Next() {
		var seq int64
		var body sql.RawBytes
		if err := rows.Scan(&seq, &body); err != nil {
			return nil, err
		}
		if e := in.arrived[seq]; e != nil {
			out = append(out, e)
			continue
		}
		e := new(backendapi.Event)
		if err := json.Unmarshal(body, e); err != nil {
			return nil, fmt.Errorf("decode a stored event: %w", err)
		}
		e.EventID = strings.ToLower(e.EventID) // bodies are stored as they were sent; the case of an id does not matter
		out = append(out, e)
	}
	return out, rows.Err()
}

func (in *ingestion) projectLoop(ctx context.Context, identity string) error {
	var body []byte
	if err := in.loops.find.QueryRowContext(ctx, in.tenant, identity).Scan(&body); err != nil {
		return err
	}
	var e backendapi.Event
	if err := json.Unmarshal(body, &e); err != nil {
		return fmt.Errorf("decode a stored event: %w", err)
	}
	if e.Kind != backendapi.KindCrashLoop {
		_, err := in.loops.drop.ExecContext(ctx, in.tenant, identity)
		return err
	}
	var loop backendapi.CrashLoop
	if e.CrashLoop != nil {
		loop = *e.CrashLoop
	}
	_, err := in.loops.put.ExecContext(ctx, in.tenant, identity, e.When.UnixNano(), loop.Count, optional(loop.ExitCode), loop.Reason)
	return err
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func optionalNanos(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixNano()
}

func optional(v *uint32) any {
	if v == nil {
		return nil
	}
	return int64(*v)
}
