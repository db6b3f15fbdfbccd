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

// place returns the nth container that Compose created for one place, at 100 n seconds.
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

// Compose with --force-recreate creates the new container first, then stops and removes the old one, then starts the new one.
func TestComposeRecreateIsARestart(t *testing.T) {
	tr := New(Options{})
	observe(t, tr, running(place(1), 101), poll(0))
	reported := observe(t, tr, created(place(2)), poll(1))
	reported = append(reported, observe(t, tr, exited(place(1), 101, 205, 143, "Error"), poll(1))...)
	reported = append(reported, remove(tr, "web-1", poll(1))...)
	reported = append(reported, observe(t, tr, running(place(2), 206), poll(1))...)
	assert.Equal(t, []string{"web-2 created", "web-1 stopped", "web-1 removed", "web-2 restarted"}, kinds(reported))
	last := reported[len(reported)-1]
	require.NotNil(t, last.Previous)
	assert.Equal(t, container.PreviousRun{ContainerID: "web-1", FinishedAt: at(205), ExitCode: 143, ExitKnown: true, Reason: "Error"}, *last.Previous)
	assert.False(t, last.Provenance.MissedUnknown)
	assert.Zero(t, last.Provenance.MissedRuns)
}

func TestComposeRecreateIsARestartWhenBothHappenBetweenTwoLists(t *testing.T) {
	tr := New(Options{})
	observe(t, tr, running(place(1), 101), poll(0))
	remove(tr, "web-1", poll(1))
	reported := observe(t, tr, running(place(2), 206), poll(1))
	assert.Equal(t, []string{"web-2 created", "web-2 restarted"}, kinds(reported))
	require.NotNil(t, reported[1].Previous)
	assert.Equal(t, "web-1", reported[1].Previous.ContainerID)
	assert.False(t, reported[1].Previous.ExitKnown)
}

func TestComposeRecreateReportsMissedRunsUnknownWhenTheObserverWasDown(t *testing.T) {
	tr := New(Options{})
	tr.Restore("web-1", &Known{Container: place(1), State: container.StateRunning, Run: container.Run{StartedAt: at(101)}})
	o := poll(1)
	o.Source = container.SourceCheckpoint
	remove(tr, "web-1", o)
	reported := observe(t, tr, running(place(4), 406), o)
	assert.Equal(t, []string{"web-4 created", "web-4 restarted"}, kinds(reported))
	assert.True(t, reported[1].Provenance.MissedUnknown, "there may have been others in between")
}

func TestCrashLoopCountsAllContainersOfOneComposePlace(t *testing.T) {
	tr := New(Options{CrashLoopThreshold: 3, CrashLoopWindow: time.Hour})
	var reported []string
	for n := 1; n <= 4; n++ {
		reported = append(reported, kinds(observe(t, tr, exited(place(n), 100*n+1, 100*n+2, 7, "Error"), Observation{At: at(100*n + 3), Since: at(100 * n), Source: container.SourceStream}))...)
		remove(tr, place(n).ID, Observation{At: at(100*n + 4), Since: at(100*n + 3)})
	}
	assert.Equal(t, []string{
		"web-1 created", "web-1 started", "web-1 stopped",
		"web-2 created", "web-2 restarted", "web-2 stopped",
		"web-3 created", "web-3 restarted", "web-3 stopped", "web-3 crash_loop",
		"web-4 created", "web-4 restarted", "web-4 stopped",
	}, reported)
	long := Observation{At: at(400 + 2*3600), Since: at(400)}
	tr.Tick(long)
	long.At = long.At.Add(idleLimit)
	tr.Tick(long)
	assert.Empty(t, tr.lineages, "an identity without containers is removed")
}

func TestComposeContainerIsAStartWhenItReplacesNone(t *testing.T) {
	other := place(2)
	other.Compose.Number = "2"
	oneOff := place(3)
	oneOff.Compose.Number = ""
	tr := New(Options{})
	for _, c := range []*container.Container{place(1), other, oneOff} {
		reported := observe(t, tr, running(c, 500), poll(0))
		assert.Equal(t, container.KindStarted, reported[1].Kind, c.ID)
	}
	older := place(0)
	reported := observe(t, tr, running(older, 501), poll(1))
	assert.Equal(t, container.KindStarted, reported[1].Kind, "it was created before the running one")
	mine := place(5)
	reported = observe(t, tr, restarts(running(mine, 502), 4), poll(1))
	assert.Equal(t, container.KindRestarted, reported[1].Kind)
	assert.Nil(t, reported[1].Previous, "the previous run was its own and was not observed")
	assert.EqualValues(t, 4, reported[1].Provenance.MissedRuns)
}
