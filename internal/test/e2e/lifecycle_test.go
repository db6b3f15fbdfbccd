//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/privateruntime"
)

// TestEventsAgreeWithEveryLife plays every way in which a container can end, restarts and removes containers, and compares the events.
func TestEventsAgreeWithEveryLife(t *testing.T) {
	eachSetup(t, func(t *testing.T, on setup) {
		c, d, pod := driverOf(t, on.release)
		before, err := d.Run(t.Context(), pod, privateruntime.ContainerSpec{Name: "was-there", Args: []string{"pause"}})
		require.NoError(t, err)
		_, err = d.Status(t.Context(), before)
		require.NoError(t, err)
		s := newStack(t, c.Endpoint(), on.stream)
		s.observe()
		s.observing()

		for _, life := range privateruntime.Lives() {
			r, err := d.Play(t.Context(), pod, life, 0)
			require.NoError(t, err, life.Name)
			end, _ := r.Ended()
			require.Equal(t, life.Expect, end, "%s: the runtime itself", life.Name)
		}
		s.agree(truthsOf(d, before))

		t.Run("restart links to the previous run", func(t *testing.T) {
			life := privateruntime.Life{Name: "flaky", Args: []string{"exit", "3"}, Expect: privateruntime.End{ExitCode: 3, Reason: "Error"}}
			first, err := d.Play(t.Context(), pod, life, 0)
			require.NoError(t, err)
			second, err := d.Play(t.Context(), pod, life, 1)
			require.NoError(t, err)
			s.agree(truthsOf(d, before))
			e := find(s.events(), second.ID, backendapi.KindRestart)
			require.NotNil(t, e)
			require.NotNil(t, e.Previous)
			assert.Contains(t, e.Previous.ContainerID, first.ID)
			assert.EqualValues(t, 3, *e.Previous.ExitCode)
			assert.Equal(t, "Error", e.Previous.Reason)
			assert.True(t, first.FinishedAt.Equal(*e.Previous.FinishedAt))
			assert.EqualValues(t, 1, *e.Run.RestartCount)
			assert.Zero(t, *e.Observation.MissedRuns)
		})
		t.Run("a crash loop is reported once", func(t *testing.T) {
			life := privateruntime.Life{Name: "looping", Args: []string{"exit", "7"}, Expect: privateruntime.End{ExitCode: 7, Reason: "Error"}}
			for attempt := range uint32(5) {
				_, err := d.Play(t.Context(), pod, life, attempt)
				require.NoError(t, err)
			}
			s.agree(truthsOf(d, before))
			loops := 0
			for _, e := range s.events() {
				if e.Kind == backendapi.KindCrashLoop && e.Workload.Container == "looping" {
					loops++
					assert.EqualValues(t, 3, e.CrashLoop.Count)
					assert.EqualValues(t, 7, *e.CrashLoop.ExitCode)
				}
			}
			assert.Equal(t, 1, loops)
		})
		t.Run("twenty lives of 50 ms between two lists", func(t *testing.T) {
			for i := range 20 {
				_, err := d.Play(t.Context(), pod, privateruntime.Life{Name: fmt.Sprintf("brief-%d", i), Args: []string{"sleepms", "50"}, Expect: privateruntime.End{Reason: "Completed"}}, 0)
				require.NoError(t, err)
			}
			s.agree(truthsOf(d, before))
		})
		t.Run("the container from before ends and is removed", func(t *testing.T) {
			require.NoError(t, d.Signal(t.Context(), before, syscall.SIGKILL))
			_, err := d.Wait(t.Context(), before)
			require.NoError(t, err)
			s.agree(truthsOf(d, before))
			require.NoError(t, d.Remove(t.Context(), before))
			for _, r := range d.Records() {
				if r.Name == "exit-0" || r.Attempt == 1 {
					require.NoError(t, d.Remove(t.Context(), r.ID))
				}
			}
			s.agree(truthsOf(d, before))
		})
		t.Run("no file has a secret", func(t *testing.T) {
			const canary = "canary-5b1d-secret"
			id, err := d.Run(t.Context(), pod, privateruntime.ContainerSpec{
				Name: "secretive", Args: []string{"pause"}, Env: map[string]string{"PASSWORD": canary},
				Labels: map[string]string{"token": canary}, Annotations: map[string]string{"key": canary},
			})
			require.NoError(t, err)
			_, err = d.Status(t.Context(), id)
			require.NoError(t, err)
			s.agree(truthsOf(d, before))
			s.collector.Stop()
			s.backend.Stop()
			require.NoError(t, filepath.WalkDir(s.dir, func(path string, entry os.DirEntry, err error) error {
				if err != nil || entry.IsDir() {
					return err
				}
				raw, err := os.ReadFile(path)
				assert.NotContains(t, string(raw), canary, "%s holds a secret", path)
				return err
			}))
		})
	})
}

// TestEventsAgreeAfterAFaultOfTheRuntime kills, freezes and restarts containerd under the observer.
func TestEventsAgreeAfterAFaultOfTheRuntime(t *testing.T) {
	eachSetup(t, func(t *testing.T, on setup) {
		c, d, pod := driverOf(t, on.release)
		s := newStack(t, c.Endpoint(), on.stream, "receivers::criobserver::timeout: 2s", "receivers::criobserver::backoff::max_interval: 2s", "receivers::criobserver::resync_interval: 5s",
			"extensions::health_check::component_health::recovery_duration: 1s")
		s.observe()
		s.observing()
		stays, err := d.Run(t.Context(), pod, privateruntime.ContainerSpec{Name: "stays", Args: []string{"pause"}})
		require.NoError(t, err)
		_, err = d.Status(t.Context(), stays)
		require.NoError(t, err)
		unwatched, err := d.Run(t.Context(), pod, privateruntime.ContainerSpec{Name: "ends-unwatched", Args: []string{"pause"}})
		require.NoError(t, err)
		_, err = d.Status(t.Context(), unwatched)
		require.NoError(t, err)
		s.agree(truthsOf(d))

		pid, err := d.PID(t.Context(), unwatched)
		require.NoError(t, err)
		require.NoError(t, c.Kill())
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		s.await("the health to fail", func() bool { return s.healthStatus() == http.StatusInternalServerError })
		require.NoError(t, c.Restart(t.Context()))
		s.await("the health to recover", func() bool { return s.healthStatus() == http.StatusOK })
		ended, err := d.Wait(t.Context(), unwatched) // with its exit code, or reported as unknown
		require.NoError(t, err)
		t.Logf("ended while containerd %s was down: %d %s", c.Version(), ended.ExitCode, ended.Reason)
		_, err = d.Play(t.Context(), pod, privateruntime.Lives()[1], 0)
		require.NoError(t, err)
		s.agree(truthsOf(d))

		require.NoError(t, c.Freeze())
		s.await("the health to fail while it hangs", func() bool { return s.healthStatus() == http.StatusInternalServerError })
		require.NoError(t, c.Thaw())
		s.await("the health to recover", func() bool { return s.healthStatus() == http.StatusOK })
		require.NoError(t, d.Stop(t.Context(), stays, time.Second))
		_, err = d.Wait(t.Context(), stays)
		require.NoError(t, err)
		s.agree(truthsOf(d))
	})
}

// TestEventsAgreeWhenTheRuntimeStartsLater starts the collector ten seconds before its runtime.
func TestEventsAgreeWhenTheRuntimeStartsLater(t *testing.T) {
	c, d, pod := driverOf(t)
	there, err := d.Run(t.Context(), pod, privateruntime.ContainerSpec{Name: "there", Args: []string{"pause"}})
	require.NoError(t, err)
	_, err = d.Status(t.Context(), there)
	require.NoError(t, err)
	require.NoError(t, c.Stop(t.Context()))
	s := newStack(t, c.Endpoint(), "auto")
	s.observe()
	time.Sleep(10 * time.Second)
	require.NoError(t, c.Restart(t.Context()))
	s.agree(truthsOf(d, there))
	_, err = d.Play(t.Context(), pod, privateruntime.Lives()[0], 0)
	require.NoError(t, err)
	s.agree(truthsOf(d, there))
}

// TestEventsAgreeAfterACollectorRestart ends the collector, by SIGTERM and by SIGKILL, and ends and runs containers meanwhile.
func TestEventsAgreeAfterACollectorRestart(t *testing.T) {
	c, d, pod := driverOf(t)
	s := newStack(t, c.Endpoint(), "auto")
	s.observe()
	s.observing()
	for i, end := range []func(){func() { s.collector.Stop() }, func() { s.collector.Kill() }} {
		ends, err := d.Run(t.Context(), pod, privateruntime.ContainerSpec{Name: fmt.Sprintf("ends-%d", i), Args: []string{"pause"}})
		require.NoError(t, err)
		_, err = d.Status(t.Context(), ends)
		require.NoError(t, err)
		s.agree(truthsOf(d))
		end()
		require.NoError(t, d.Signal(t.Context(), ends, syscall.SIGKILL))
		_, err = d.Wait(t.Context(), ends)
		require.NoError(t, err)
		_, err = d.Play(t.Context(), pod, privateruntime.Life{Name: fmt.Sprintf("unwatched-%d", i), Args: []string{"exit", "4"}, Expect: privateruntime.End{ExitCode: 4, Reason: "Error"}}, 0)
		require.NoError(t, err)
		s.observe()
		s.agree(truthsOf(d))
		e := find(s.events(), ends, backendapi.KindStop)
		require.NotNil(t, e)
		assert.Equal(t, "checkpoint", e.Observation.Source)
	}
}
