// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package observer

import (
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/record"
	"github.com/zastava-otel/zastava/internal/test/crifake"
	"github.com/zastava-otel/zastava/internal/test/oracle"
	"github.com/zastava-otel/zastava/internal/test/socketdir"
)

// FuzzHostileAnswers observes a CRI server that returns anything for one of its containers, and is in order for another. The other is
// reported in full, and nothing is reported without an id, without a time or with an impossible time.
func FuzzHostileAnswers(f *testing.F) {
	f.Add(int64(0), int64(0), int64(0), int32(1), int32(0), "", "Error", 0, uint32(0))
	f.Add(int64(math.MinInt64), int64(math.MaxInt64), int64(-1), int32(2), int32(-1), "\x00", "OOMKilled", 1<<20, uint32(math.MaxUint32))
	f.Add(int64(-6795364578871345152), int64(1), int64(253402300800000000), int32(99), int32(math.MinInt32), strings.Repeat("n", 5000), "Unknown", 1, uint32(7))
	f.Add(time.Now().UnixNano(), time.Now().Add(100*time.Hour).UnixNano(), int64(5), int32(2), int32(255), "name", "Unknown", 3, uint32(1))
	f.Add(int64(1), int64(0), int64(math.MaxInt64), int32(-1), int32(137), "name", strings.Repeat("r", 1<<20), 0, uint32(0))
	f.Fuzz(func(t *testing.T, created, started, finished int64, state, exit int32, name, reason string, labels int, attempt uint32) {
		oracle.Bound(t, oracle.Cost{Bytes: 1 << 30, CPU: 20 * time.Second})
		server, err := crifake.Start(filepath.Join(socketdir.New(t), "c.sock"), crifake.Options{Name: "cri-o", Events: crifake.EventsOn})
		require.NoError(t, err)
		t.Cleanup(server.Stop)
		clean := func(s string) string { return strings.ToValidUTF8(s, "?") } // else the server cannot encode it
		hostile, sane := server.Fill(2, 1)[0], ""
		answer := func(item *runtimeapi.Container, status *runtimeapi.ContainerStatus) string {
			item.CreatedAt, status.CreatedAt, status.StartedAt, status.FinishedAt = created, created, started, finished
			item.State, status.State = runtimeapi.ContainerState(state), runtimeapi.ContainerState(state)
			status.ExitCode, status.Reason = exit, clean(reason)
			item.Metadata = &runtimeapi.ContainerMetadata{Name: clean(name), Attempt: attempt}
			status.Metadata = item.Metadata
			item.Labels = map[string]string{clean(name): strings.Repeat("l", min(max(labels, 0), 1<<20))}
			return ""
		}
		sink := &recorder{}
		observeCRI(t, server.Endpoint(), sink, &countingTelemetry{}, time.Minute)
		require.Eventually(t, func() bool { return len(sink.reported()) == 2 && server.Subscribers() == 1 }, time.Minute, time.Millisecond)

		require.NoError(t, server.Edit(hostile, answer))
		item := &runtimeapi.Container{Id: hostile}
		server.AddItem(item) // twice
		answer(item, &runtimeapi.ContainerStatus{})
		item.Id = ""
		server.AddItem(item)
		server.Send(&runtimeapi.ContainerEventResponse{ContainerId: hostile, CreatedAt: created, ContainerEventType: runtimeapi.ContainerEventType(state)})
		server.Send(&runtimeapi.ContainerEventResponse{ContainerEventType: runtimeapi.ContainerEventType(exit)})
		pod := server.RunPod("shop", "web")
		sane, err = server.Create(pod, "api", 0)
		require.NoError(t, err)
		require.NoError(t, server.Start(sane))
		require.NoError(t, server.Exit(sane, 3, "Error"))
		reported := func(n int) {
			require.Eventually(t, func() bool {
				of := 0
				for _, what := range sink.reported() {
					if strings.HasPrefix(what, sane) {
						of++
					}
				}
				return of == n
			}, 30*time.Second, time.Millisecond, "%v", sink.reported())
		}
		reported(3)
		require.NoError(t, server.Remove(sane))
		reported(4)

		sink.mu.Lock()
		defer sink.mu.Unlock()
		for i := range sink.transitions {
			tr := &sink.transitions[i]
			require.NotEmpty(t, tr.Container.ID)
			require.NotEmpty(t, record.EventID(tr))
			require.Less(t, int(tr.Kind), int(container.KindCrashLoopEnded)+1)
			for _, at := range []time.Time{tr.When, tr.Container.CreatedAt, tr.Run.StartedAt, tr.Run.FinishedAt, tr.Provenance.WindowStart} {
				require.True(t, at.IsZero() || (at.Year() > 2000 && at.Year() < 2200), "%s at %s", tr.Kind, at)
			}
			require.False(t, tr.When.IsZero())
			require.LessOrEqual(t, len(tr.Run.Reason)+len(tr.Container.Name), 4096)
		}
	})
}
