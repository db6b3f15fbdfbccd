// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package crifake

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/test/socketdir"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/Microsoft/go-winio.ioCompletionProcessor")) // it never ends
}

func start(t *testing.T, o Options) (*Server, runtimeapi.RuntimeServiceClient) {
	t.Helper()
	s, err := Start(filepath.Join(socketdir.New(t), "c.sock"), o)
	require.NoError(t, err)
	t.Cleanup(s.Stop)
	conn, err := grpc.NewClient(s.Endpoint(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return s, runtimeapi.NewRuntimeServiceClient(conn)
}

func TestHistoryIsTheSameForTheSameSeed(t *testing.T) {
	at := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	history := func(seed uint64) []Life {
		s, _ := start(t, Options{Seed: seed, Now: func() time.Time { return at }})
		s.Fill(20, 4)
		var lives []Life
		for range 100 {
			l, ok := s.Step()
			require.True(t, ok)
			lives = append(lives, l)
		}
		return lives
	}
	first := history(7)
	assert.Equal(t, first, history(7))
	assert.NotEqual(t, first, history(8))
}

func TestListShowsEveryChange(t *testing.T) {
	s, client := start(t, Options{})
	ids := s.Fill(3, 3)
	require.NoError(t, s.Exit(ids[0], 3, "Error"))
	next, err := s.Restart(ids[1], 1, "Error")
	require.NoError(t, err)
	require.NoError(t, s.Remove(ids[2]))
	require.Error(t, s.Start(ids[2]))
	answer, err := client.ListContainers(t.Context(), &runtimeapi.ListContainersRequest{})
	require.NoError(t, err)
	require.Len(t, answer.Containers, 3)
	assert.Equal(t, runtimeapi.ContainerState_CONTAINER_EXITED, answer.Containers[0].State)
	assert.Equal(t, next, answer.Containers[2].Id)
	assert.EqualValues(t, 1, answer.Containers[2].Metadata.Attempt)
	truth, ok := s.Life(next)
	require.True(t, ok)
	assert.Equal(t, answer.Containers[2].CreatedAt, truth.Created.UnixNano())
	assert.True(t, truth.Started.After(truth.Created), "times never repeat")
}

func TestFaultAppliesUntilItIsLifted(t *testing.T) {
	s, client := start(t, Options{})
	ids := s.Fill(2, 1)
	ask := func(ctx context.Context, id string) codes.Code {
		_, err := client.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id})
		return status.Code(err)
	}
	s.Inject(Fault{Method: "ContainerStatus", Container: ids[0], Code: codes.Internal, Times: 2})
	assert.Equal(t, codes.OK, ask(t.Context(), ids[1]))
	assert.Equal(t, codes.Internal, ask(t.Context(), ids[0]))
	assert.Equal(t, codes.Internal, ask(t.Context(), ids[0]))
	assert.Equal(t, codes.OK, ask(t.Context(), ids[0]))

	lift := s.Inject(Fault{Hang: true})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	assert.Equal(t, codes.DeadlineExceeded, ask(ctx, ids[0]))
	done := make(chan codes.Code, 1)
	before := s.Calls("ContainerStatus")
	go func() { done <- ask(t.Context(), ids[0]) }()
	require.Eventually(t, func() bool { return s.Calls("ContainerStatus") > before }, 5*time.Second, time.Millisecond)
	lift()
	lift()
	assert.Equal(t, codes.OK, <-done, "the call is answered once the fault is lifted")
}

func TestEventsAreDroppedForAReaderThatStops(t *testing.T) {
	s, client := start(t, Options{Events: EventsOn})
	_, err := client.GetContainerEvents(t.Context(), &runtimeapi.GetEventsRequest{})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return s.Subscribers() == 1 }, 5*time.Second, time.Millisecond)
	id := s.Fill(1, 1)[0]
	for s.Dropped() == 0 {
		next, err := s.Restart(id, 1, "Error")
		require.NoError(t, err)
		require.NoError(t, s.Remove(id))
		id = next
	}
	s.CutStreams(codes.Unavailable)
}
