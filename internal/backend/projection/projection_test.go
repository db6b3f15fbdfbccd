// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package projection_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/zastava-otel/zastava/internal/backend/backendtest"
	"github.com/zastava-otel/zastava/internal/backend/projection"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

func TestFoldReturnsState(t *testing.T) {
	l := backendtest.NewLife(0)
	created, removed := l.Event(backendapi.KindCreate, 0), l.Event(backendapi.KindRemove, 90)
	started, stopped := l.Started(1), l.Stopped(9, 1, 3, "Error")
	failedStart := l.Stopped(2, 0, 128, "StartError")
	failedStart.Run.StartedAt = nil
	unplaced := l.Stopped(9, 1, 1, "Error") // a stop that does not name its run
	unplaced.Run.StartedAt = nil
	// Their ids would order them the other way round.
	pauseNow, resumeNow := l.InRun(backendapi.KindPause, 2, 1), l.InRun(backendapi.KindUnpause, 2, 1)
	pauseNow.EventID, resumeNow.EventID = "f0000000-0000-5000-8000-000000000000", "00000000-0000-5000-8000-000000000000"
	at := func(kind backendapi.Kind, seconds float64) backendapi.Event { return l.InRun(kind, seconds, 1) }
	for name, tc := range map[string]struct {
		life, latest []backendapi.Event
		want         string
	}{
		"nothing known":                     {want: "unknown"},
		"created":                           {life: []backendapi.Event{created}, want: "created"},
		"started":                           {life: []backendapi.Event{created}, latest: []backendapi.Event{started}, want: "running"},
		"only its health is known":          {latest: []backendapi.Event{at(backendapi.KindHealth, 5)}, want: "running"},
		"only its crash loop is known":      {latest: []backendapi.Event{at(backendapi.KindCrashLoop, 5)}, want: "unknown"},
		"stopped":                           {latest: []backendapi.Event{stopped, started}, want: "exited"},
		"stopped, the start not seen":       {latest: []backendapi.Event{stopped}, want: "exited"},
		"paused":                            {latest: []backendapi.Event{started, at(backendapi.KindPause, 2)}, want: "paused"},
		"resumed":                           {latest: []backendapi.Event{at(backendapi.KindUnpause, 3), started, at(backendapi.KindPause, 2)}, want: "running"},
		"paused and resumed in one moment":  {latest: []backendapi.Event{resumeNow, started, pauseNow}, want: "running"},
		"started and stopped in one moment": {latest: []backendapi.Event{l.Stopped(1, 1, 0, ""), started}, want: "exited"},
		"stopped while paused":              {latest: []backendapi.Event{started, at(backendapi.KindPause, 2), stopped}, want: "exited"},
		"the start failed":                  {life: []backendapi.Event{created, failedStart}, want: "exited"},
		"started after a failed start":      {life: []backendapi.Event{created, failedStart}, latest: []backendapi.Event{l.Started(5)}, want: "running"},
		"a stop that does not name its run": {life: []backendapi.Event{unplaced}, latest: []backendapi.Event{started}, want: "exited"},
		"removed":                           {life: []backendapi.Event{created, removed}, latest: []backendapi.Event{started}, want: "removed"},
	} {
		t.Run(name, func(t *testing.T) {
			c := projection.Fold(pointers(tc.life), pointers(tc.latest))
			assert.Equal(t, tc.want, c.State)
		})
	}
}

func TestFoldKeepsFieldsThatLaterEventsLack(t *testing.T) {
	l := backendtest.NewLife(0)
	start, stop := l.Started(1), l.Stopped(2, 1, 0, "Completed")
	start.Workload.ImageDigest, stop.Workload.Pod = "sha256:aa", ""
	c := projection.Fold(nil, pointers([]backendapi.Event{stop, start}))
	assert.Equal(t, "sha256:aa", c.ImageDigest)
	assert.Equal(t, "c0-pod", c.Pod)
	assert.Equal(t, l.At(2), c.LastEventAt)
	assert.Equal(t, l.At(1), c.Position)
	assert.Equal(t, "c0-uid/c0", c.Identity)
}

func pointers(events []backendapi.Event) []*backendapi.Event {
	out := make([]*backendapi.Event, len(events))
	for i := range events {
		out[i] = &events[i]
	}
	return out
}
