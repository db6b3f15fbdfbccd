// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
)

// place gives the nth container that Compose made for the same place, created at n hundred seconds.
func place(n int) *container.Container {
	return &container.Container{
		Engine: "docker", ID: fmt.Sprintf("web-%d", n), Name: "shop-web-1", CreatedAt: at(100 * n),
		Compose: container.Compose{Project: "shop", Service: "web", Number: "1"},
	}
}

func kinds(trs []container.Transition) []string {
	out := []string{}
	for i := range trs {
		out = append(out, trs[i].Container.ID+" "+trs[i].Kind.String())
	}
	return out
}

// TestComposeRecreates plays docker compose up --force-recreate: the new container is created before the old one is stopped
// and removed, and started after that.
func TestComposeRecreates(t *testing.T) {
	tr := New(Options{})
	observe(t, tr, running(place(1), 101), look(0))
	told := observe(t, tr, created(place(2)), look(1))
	told = append(told, observe(t, tr, exited(place(1), 101, 205, 143, "Error"), look(1))...)
	gone := tr.Absent("web-1", look(1))
	tr.Apply(&gone)
	told = append(told, gone.Transitions...)
	told = append(told, observe(t, tr, running(place(2), 206), look(1))...)
	assert.Equal(t, []string{"web-2 created", "web-1 stopped", "web-1 removed", "web-2 restarted"}, kinds(told))
	last := told[len(told)-1]
	require.NotNil(t, last.Previous)
	assert.Equal(t, container.Previous{ContainerID: "web-1", FinishedAt: at(205), ExitCode: 143, ExitKnown: true, Reason: "Error"}, *last.Previous)
	assert.False(t, last.Provenance.MissedUnknown)
	assert.Zero(t, last.Provenance.MissedRuns)
}

func TestComposeRecreatesBetweenTwoLists(t *testing.T) {
	tr := New(Options{})
	observe(t, tr, running(place(1), 101), look(0))
	gone := tr.Absent("web-1", look(1))
	tr.Apply(&gone)
	told := observe(t, tr, running(place(2), 206), look(1))
	assert.Equal(t, []string{"web-2 created", "web-2 restarted"}, kinds(told))
	require.NotNil(t, told[1].Previous)
	assert.Equal(t, "web-1", told[1].Previous.ContainerID)
	assert.False(t, told[1].Previous.ExitKnown)
}

func TestComposeRecreatesWhileTheObserverIsAway(t *testing.T) {
	tr := New(Options{})
	tr.Restore("web-1", &Known{Container: place(1), State: container.StateRunning, Run: container.Run{StartedAt: at(101)}})
	l := look(1)
	l.Source = container.SourceCheckpoint
	gone := tr.Absent("web-1", l)
	tr.Apply(&gone)
	told := observe(t, tr, running(place(4), 406), l)
	assert.Equal(t, []string{"web-4 created", "web-4 restarted"}, kinds(told))
	assert.True(t, told[1].Provenance.MissedUnknown, "there may have been others in between")
}

func TestCrashLoopOverContainersOfOnePlace(t *testing.T) {
	tr := New(Options{CrashLoopThreshold: 3, CrashLoopWindow: time.Hour})
	var told []string
	for n := 1; n <= 4; n++ {
		told = append(told, kinds(observe(t, tr, exited(place(n), 100*n+1, 100*n+2, 7, "Error"), Observation{At: at(100*n + 3), Since: at(100 * n), Source: container.SourceStream}))...)
		gone := tr.Absent(place(n).ID, Observation{At: at(100*n + 4), Since: at(100*n + 3)})
		tr.Apply(&gone)
	}
	assert.Equal(t, []string{
		"web-1 created", "web-1 started", "web-1 stopped",
		"web-2 created", "web-2 restarted", "web-2 stopped",
		"web-3 created", "web-3 restarted", "web-3 stopped", "web-3 crash_loop",
		"web-4 created", "web-4 restarted", "web-4 stopped",
	}, told)
	long := Observation{At: at(400 + 2*3600), Since: at(400)}
	tr.Tick(long)
	long.At = long.At.Add(idleLimit)
	tr.Tick(long)
	assert.Empty(t, tr.lineages, "a place without containers is forgotten")
}

func TestWhatComposeDidNotReplaceStarts(t *testing.T) {
	other := place(2)
	other.Compose.Number = "2"
	oneOff := place(3)
	oneOff.Compose.Number = ""
	tr := New(Options{})
	for _, c := range []*container.Container{place(1), other, oneOff} {
		told := observe(t, tr, running(c, 500), look(0))
		assert.Equal(t, container.KindStarted, told[1].Kind, c.ID)
	}
	older := place(0)
	told := observe(t, tr, running(older, 501), look(1))
	assert.Equal(t, container.KindStarted, told[1].Kind, "it was made before the one that runs")
	mine := place(5)
	told = observe(t, tr, restarts(running(mine, 502), 4), look(1))
	assert.Equal(t, container.KindRestarted, told[1].Kind)
	assert.Nil(t, told[1].Previous, "the run before was its own, and nobody saw it")
	assert.EqualValues(t, 4, told[1].Provenance.MissedRuns)
}
