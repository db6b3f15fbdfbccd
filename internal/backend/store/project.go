// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/backend/projection"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

// touched is what a batch may have changed: by container its run keys, and the identities whose crash loops it told of.
type touched struct {
	containers map[string]*touchedContainer
	loops      map[string]struct{}
}

type touchedContainer struct {
	runs     map[int64]struct{}
	firstSeq int64
}

func newTouched() *touched {
	return &touched{containers: map[string]*touchedContainer{}, loops: map[string]struct{}{}}
}

func (t *touched) note(containerID string, run, seq int64) {
	if containerID == "" {
		return
	}
	c := t.containers[containerID]
	if c == nil {
		c = &touchedContainer{runs: map[int64]struct{}{}, firstSeq: seq}
		t.containers[containerID] = c
	}
	c.runs[run] = struct{}{}
}

// project derives anew whatever the batch touched, from the events themselves: so their order of arrival cannot matter.
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
	var latest, lastEvent int64
	if err := in.latest.QueryRowContext(ctx, in.tenant, id).Scan(&latest, &lastEvent); err != nil {
		return err
	}
	t.runs[latest], t.runs[0] = struct{}{}, struct{}{}
	byRun := make(map[int64][]*backendapi.Event, len(t.runs))
	for run := range t.runs {
		events, err := in.loadRun(ctx, id, run)
		if err != nil {
			return err
		}
		byRun[run] = events
	}
	c := projection.Fold(byRun[0], byRun[latest])
	if latest == 0 {
		c = projection.Fold(byRun[0], nil) // it is the same list
	}
	for run := range t.runs {
		if err := in.storeRun(ctx, id, c.Identity, run, byRun[run]); err != nil {
			return err
		}
	}
	_, bare, _ := strings.Cut(id, "://")
	_, err := in.putContainer.ExecContext(ctx, in.tenant, id, bare, t.firstSeq, in.now, c.Engine, c.Node, c.Identity, c.Name,
		c.Namespace, c.Pod, c.PodUID, c.ImageRef, c.ImageDigest, c.ImageID, c.State, nanos(c.Run.StartedAt),
		optionalNanos(c.Run.FinishedAt), optional(c.Run.ExitCode), c.Run.Signal, c.Run.Reason, c.Run.OOMKilled,
		optional(c.Run.RestartCount), nanos(c.Position), max(nanos(c.LastEventAt), lastEvent))
	return err
}

func (in *ingestion) storeRun(ctx context.Context, id, identity string, key int64, events []*backendapi.Event) error {
	run, ok := projection.FoldRun(events)
	if !ok {
		_, err := in.dropRun.ExecContext(ctx, in.tenant, id, key)
		return err
	}
	_, err := in.putRun.ExecContext(ctx, in.tenant, id, key, identity, run.Ended, nanos(run.FinishedAt), optional(run.ExitCode),
		run.Signal, run.Reason, run.OOMKilled, optional(run.RestartCount))
	return err
}

// loadRun loads what a run is folded from.
func (in *ingestion) loadRun(ctx context.Context, id string, run int64) ([]*backendapi.Event, error) {
	out, err := loadEvents(in.ofRun.QueryContext(ctx, in.tenant, id, run))
	if err != nil || len(out) > 0 {
		return out, err
	}
	return loadEvents(in.other.QueryContext(ctx, in.tenant, id, run))
}

func loadEvents(rows *sql.Rows, err error) ([]*backendapi.Event, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*backendapi.Event
	for rows.Next() {
		var body sql.RawBytes
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		e := new(backendapi.Event)
		if err := json.Unmarshal(body, e); err != nil {
			return nil, fmt.Errorf("read a stored event: %w", err)
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

func (in *ingestion) projectLoop(ctx context.Context, identity string) error {
	var body []byte
	if err := in.loop.QueryRowContext(ctx, in.tenant, identity).Scan(&body); err != nil {
		return err
	}
	var e backendapi.Event
	if err := json.Unmarshal(body, &e); err != nil {
		return fmt.Errorf("read a stored event: %w", err)
	}
	if e.Kind != backendapi.KindCrashLoop {
		_, err := in.dropLoop.ExecContext(ctx, in.tenant, identity)
		return err
	}
	var loop backendapi.CrashLoop
	if e.CrashLoop != nil {
		loop = *e.CrashLoop
	}
	_, err := in.putLoop.ExecContext(ctx, in.tenant, identity, e.When.UnixNano(), loop.Count, optional(loop.ExitCode), loop.Reason)
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
