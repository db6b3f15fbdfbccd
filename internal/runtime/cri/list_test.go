// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/test/crifake"
)

const unimplemented = codes.Unimplemented

var status14 = status.Error(codes.Unavailable, "connection refused")

func TestListReturnsSameSummariesUnaryAndStreamed(t *testing.T) {
	for name, streamed := range map[string]bool{"unary": false, "streamed": true} {
		t.Run(name, func(t *testing.T) {
			s, r := fake(t, crifake.Options{StreamLists: streamed, Batch: 3}, Options{})
			ids := s.Fill(10, 4)
			require.NoError(t, s.Exit(ids[1], 3, "Error"))
			created, err := s.Create(life(t, s, ids[0]).Sandbox, "later", 5)
			require.NoError(t, err)

			kept := make([]runtime.Summary, 2, 50)
			list, err := r.List(t.Context(), kept)
			require.NoError(t, err)
			require.Len(t, list, 2+11)
			assert.Same(t, &kept[0], &list[0], "the caller's slice is used")
			for _, got := range list[2:] {
				want := life(t, s, got.ID)
				assert.Equal(t, want.Created.UnixNano(), got.CreatedAt)
				assert.Equal(t, want.Attempt, got.Attempt)
				switch got.ID {
				case ids[1]:
					assert.Equal(t, container.StateExited, got.State)
				case created:
					assert.Equal(t, container.StateCreated, got.State)
				default:
					assert.Equal(t, container.StateRunning, got.State)
				}
			}
		})
	}
}

func life(t *testing.T, s *crifake.Server, id string) crifake.Life {
	t.Helper()
	l, ok := s.Life(id)
	require.True(t, ok, id)
	return l
}

func TestListFailsWhenStreamIsCutOff(t *testing.T) {
	s, r := fake(t, crifake.Options{StreamLists: true, Batch: 2}, Options{})
	s.Fill(6, 1)
	lift := s.Inject(crifake.Fault{Method: "StreamContainers", Code: codes.Internal, After: 2})
	list, err := r.List(t.Context(), nil)
	require.Error(t, err)
	assert.Empty(t, list)
	lift()
	list, err = r.List(t.Context(), list)
	require.NoError(t, err)
	assert.Len(t, list, 6)
	assert.Zero(t, s.Calls("ListContainers"), "a failed stream does not mean that the method is missing")
}

func TestListStartsOverWhenStreamBecomesUnimplemented(t *testing.T) {
	s, r := fake(t, crifake.Options{StreamLists: true, Batch: 2}, Options{})
	s.Fill(6, 1)
	s.Inject(crifake.Fault{Method: "StreamContainers", Code: codes.Unimplemented, After: 2})
	list, err := r.List(t.Context(), nil)
	require.NoError(t, err)
	assert.Len(t, list, 6)
}

func TestListConfirmsEmptyStream(t *testing.T) {
	s, r := fake(t, crifake.Options{StreamLists: true}, Options{})
	list, err := r.List(t.Context(), nil)
	require.NoError(t, err)
	assert.Empty(t, list)
	assert.Equal(t, 1, s.Calls("StreamContainers"))
	assert.Equal(t, 1, s.Calls("ListContainers"))
}

func TestListAcceptsMalformedItems(t *testing.T) {
	s, r := fake(t, crifake.Options{}, Options{})
	id := s.Fill(1, 1)[0]
	s.AddItem(&runtimeapi.Container{State: runtimeapi.ContainerState_CONTAINER_RUNNING})
	s.AddItem(&runtimeapi.Container{Id: id})
	s.AddItem(&runtimeapi.Container{Id: "odd", State: 77, CreatedAt: -6795364578871345152})
	list, err := r.List(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, list, 3)
	assert.Equal(t, id, list[0].ID)
	assert.Equal(t, id, list[1].ID, "repeated as by the runtime")
	assert.Equal(t, "odd", list[2].ID)
	assert.Equal(t, container.StateUnknown, list[2].State)
	assert.Zero(t, list[2].CreatedAt)
	assert.Equal(t, container.StateUnknown, state(runtimeapi.ContainerState_CONTAINER_UNKNOWN))
}

func TestFindReturnsErrNotFoundForPrefix(t *testing.T) {
	s, r := fake(t, crifake.Options{}, Options{})
	id := s.Fill(3, 1)[1]
	got, err := r.Find(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, id, got.ID)
	c, err := r.Describe(t.Context(), got)
	require.NoError(t, err)
	assert.Equal(t, id, c.ID)
	for _, other := range []string{id[:20], "none"} {
		_, err = r.Find(t.Context(), other)
		require.ErrorIs(t, err, runtime.ErrNotFound)
	}
}
