// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/zastava-otel/zastava/internal/backend/backendtest"
	"github.com/zastava-otel/zastava/internal/backend/store"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

// TestStateDoesNotDependOnArrivalOrder: any order, repetition and division into batches of the events of some containers gives the
// same state.
func TestStateDoesNotDependOnArrivalOrder(t *testing.T) {
	dir := t.TempDir()
	var n int
	rapid.Check(t, func(rt *rapid.T) {
		var events []backendapi.Event
		for c := range rapid.IntRange(1, 3).Draw(rt, "containers") {
			events = append(events, drawLife(rt, backendtest.NewLife(c))...)
		}
		if len(events) == 0 {
			rt.Skip("no event was drawn")
		}
		arrival := rapid.Permutation(events).Draw(rt, "arrival")
		for range rapid.IntRange(0, 4).Draw(rt, "repeats") {
			arrival = append(arrival, rapid.SampledFrom(events).Draw(rt, "repeat"))
		}
		n++
		want := project(rt, filepath.Join(dir, fmt.Sprintf("%d-a.db", n)), [][]backendapi.Event{events})
		var batches [][]backendapi.Event
		for len(arrival) > 0 {
			k := rapid.IntRange(1, len(arrival)).Draw(rt, "batch")
			batches, arrival = append(batches, arrival[:k]), arrival[k:]
		}
		got := project(rt, filepath.Join(dir, fmt.Sprintf("%d-b.db", n)), batches)
		assert.Equal(rt, want, got)
		if rt.Failed() {
			rt.FailNow()
		}
	})
}

func drawLife(rt *rapid.T, l backendtest.Life) []backendapi.Event {
	if rapid.Bool().Draw(rt, "attempts of one pod") {
		l.Name = "shared"
	}
	var out []backendapi.Event
	add := func(e backendapi.Event) {
		if !rapid.Bool().Draw(rt, "seen") {
			return
		}
		e.Workload.ImageDigest = rapid.SampledFrom([]string{"", "sha256:aa", "sha256:bb"}).Draw(rt, "digest")
		out = append(out, e)
		for rev := range rapid.IntRange(0, 2).Draw(rt, "revisions") {
			e.Revision = uint32(rev + 1)
			e.When = e.When.Add(time.Duration(rapid.IntRange(-3, 3).Draw(rt, "shift")) * time.Second)
			if e.Run != nil && e.Run.StartedAt != nil && rapid.IntRange(0, 5).Draw(rt, "start was wrong") == 0 {
				run := *e.Run
				run.StartedAt = new(run.StartedAt.Add(time.Millisecond))
				e.Run = &run
			}
			if e.Run != nil && e.Run.FinishedAt != nil {
				run := *e.Run
				run.FinishedAt, run.Reason = new(e.When), fmt.Sprintf("Revised%d", rev)
				e.Run = &run
			}
			out = append(out, e)
		}
	}
	at := 0.0
	step := func() float64 { at += float64(rapid.IntRange(0, 3).Draw(rt, "step")); return at }
	add(l.Event(backendapi.KindCreate, 0))
	for range rapid.IntRange(0, 3).Draw(rt, "runs") {
		at++
		began := step()
		add(l.Started(began))
		for _, kind := range rapid.SliceOfN(rapid.SampledFrom([]backendapi.Kind{
			backendapi.KindPause, backendapi.KindUnpause, backendapi.KindHealth, backendapi.KindOOM,
			backendapi.KindCrashLoop, backendapi.KindCrashLoopEnd,
		}), 0, 3).Draw(rt, "inside") {
			e := l.InRun(kind, step(), began)
			e.EventID = backendapi.EventID("containerd", l.ID, kind, e.When, uint32(len(out)))
			if kind == backendapi.KindCrashLoop {
				e.CrashLoop = &backendapi.CrashLoop{Count: uint32(len(out)), WindowSeconds: 600}
			}
			add(e)
		}
		add(l.Stopped(step(), began, uint32(rapid.IntRange(0, 1).Draw(rt, "exit")), "Error"))
	}
	if rapid.Bool().Draw(rt, "start failed") {
		e := l.Stopped(step(), 0, 128, "StartError")
		e.Run.StartedAt, e.EventID = nil, backendapi.EventID("containerd", l.ID, e.Kind, l.Created, 0)
		add(e)
	}
	add(l.Event(backendapi.KindRemove, step()))
	return out
}

// project stores the batches and returns all derived state.
func project(rt *rapid.T, path string, batches [][]backendapi.Event) map[string]store.Detail {
	s, err := store.Open(context.Background(), path, func() time.Time { return backendtest.Start })
	require.NoError(rt, err)
	defer func() { require.NoError(rt, s.Close()); _ = os.Remove(path) }()
	for _, events := range batches {
		_, _, err := s.Ingest(context.Background(), backendtest.Tenant, uuid.NewString(), backendtest.Records(events...))
		require.NoError(rt, err)
	}
	found, _, err := s.Containers(context.Background(), store.ContainerQuery{Limit: 100})
	require.NoError(rt, err)
	out := map[string]store.Detail{}
	for _, c := range found {
		d, err := s.Container(context.Background(), "", c.ContainerID)
		require.NoError(rt, err)
		out[c.ContainerID] = *d
	}
	return out
}

// BenchmarkIngest stores batches of 256 events of as many containers, the worst case: all state is derived 256 times.
