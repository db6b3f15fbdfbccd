// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package containerd

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/api/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/runtime/cri"
	"github.com/zastava-otel/zastava/internal/test/crifake"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/Microsoft/go-winio.ioCompletionProcessor")) // it never ends
}

func envelope(tb testing.TB, at time.Time, m proto.Message) *types.Envelope {
	tb.Helper()
	b, err := proto.Marshal(m)
	require.NoError(tb, err)
	return &types.Envelope{
		Timestamp: timestamppb.New(at), Namespace: namespace,
		Event: &anypb.Any{TypeUrl: string(m.ProtoReflect().Descriptor().FullName()), Value: b},
	}
}

func TestNoticeMatchesEachEvent(t *testing.T) {
	reported := time.Date(2026, 11, 22, 19, 0, 0, 5, time.UTC)
	exited := reported.Add(-time.Millisecond)
	none := func(e *types.Envelope) *types.Envelope { return e }
	for name, test := range map[string]struct {
		event proto.Message
		edit  func(*types.Envelope) *types.Envelope
		want  *runtime.Notice // nil if none
	}{
		"create": {&events.ContainerCreate{ID: "a", Image: "x"}, none, &runtime.Notice{ID: "a", Kind: runtime.NoticeCreated, At: reported}},
		"start": {
			&events.TaskStart{ContainerID: "a", Pid: 9}, none, &runtime.Notice{ID: "a", Kind: runtime.NoticeStarted, At: reported, PID: 9},
		},
		"exit": {
			&events.TaskExit{ContainerID: "a", ID: "a", Pid: 9, ExitStatus: 137, ExitedAt: timestamppb.New(exited)}, none,
			&runtime.Notice{ID: "a", Kind: runtime.NoticeExited, At: exited, PID: 9, ExitCode: 137},
		},
		"exit, unsigned code": {
			&events.TaskExit{ContainerID: "a", ID: "a", ExitStatus: 3221225786, ExitedAt: timestamppb.New(exited)}, none,
			&runtime.Notice{ID: "a", Kind: runtime.NoticeExited, At: exited, ExitCode: 3221225786},
		},
		"exit of an exec": {&events.TaskExit{ContainerID: "a", ID: "exec-1", ExitedAt: timestamppb.New(exited)}, none, nil},
		"exit without a time": {
			&events.TaskExit{ContainerID: "a", ID: "a", ExitedAt: timestamppb.New(time.Time{})}, none,
			&runtime.Notice{ID: "a", Kind: runtime.NoticeExited, At: reported},
		},
		"exit without an id of its process": {
			&events.TaskExit{ContainerID: "a"}, none, &runtime.Notice{ID: "a", Kind: runtime.NoticeExited, At: reported},
		},
		"oom":                              {&events.TaskOOM{ContainerID: "a"}, none, &runtime.Notice{ID: "a", Kind: runtime.NoticeOOM, At: reported}},
		"paused":                           {&events.TaskPaused{ContainerID: "a"}, none, &runtime.Notice{ID: "a", Kind: runtime.NoticePaused, At: reported}},
		"resumed":                          {&events.TaskResumed{ContainerID: "a"}, none, &runtime.Notice{ID: "a", Kind: runtime.NoticeResumed, At: reported}},
		"delete":                           {&events.ContainerDelete{ID: "a"}, none, &runtime.Notice{ID: "a", Kind: runtime.NoticeDeleted, At: reported}},
		"a type that is not subscribed to": {&events.TaskExecStarted{ContainerID: "a"}, none, nil},
		"no id":                            {&events.ContainerDelete{}, none, nil},
		"an id too long":                   {&events.ContainerDelete{ID: string(make([]byte, 257))}, none, nil},
		"another namespace": {&events.TaskOOM{ContainerID: "a"}, func(e *types.Envelope) *types.Envelope {
			e.Namespace = "moby"
			return e
		}, nil},
		"a type with a host in front": {&events.TaskOOM{ContainerID: "a"}, func(e *types.Envelope) *types.Envelope {
			e.Event.TypeUrl = "types.googleapis.com/" + e.Event.TypeUrl
			return e
		}, &runtime.Notice{ID: "a", Kind: runtime.NoticeOOM, At: reported}},
		"a malformed payload": {&events.TaskOOM{ContainerID: "a"}, func(e *types.Envelope) *types.Envelope {
			e.Event.Value = []byte{0xff}
			return e
		}, nil},
		"no time": {&events.TaskOOM{ContainerID: "a"}, func(e *types.Envelope) *types.Envelope {
			e.Timestamp = nil
			return e
		}, &runtime.Notice{ID: "a", Kind: runtime.NoticeOOM}},
		"nothing": {&events.TaskOOM{}, func(*types.Envelope) *types.Envelope { return &types.Envelope{} }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := notice(test.edit(envelope(t, reported, test.event)))
			require.Equal(t, test.want != nil, ok)
			if ok {
				assert.Equal(t, *test.want, got)
			}
		})
	}
}

func FuzzNotice(f *testing.F) {
	for _, m := range []proto.Message{
		&events.TaskExit{ContainerID: "a", ID: "a", ExitStatus: 1, ExitedAt: &timestamppb.Timestamp{Seconds: -1 << 62, Nanos: -5}},
		&events.ContainerCreate{ID: "a", Runtime: &events.ContainerCreate_Runtime{Options: &anypb.Any{TypeUrl: "x"}}},
		&events.TaskStart{ContainerID: "a", Pid: 1 << 31},
	} {
		b, err := proto.Marshal(envelope(f, time.Now(), m))
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		oracle.Bound(t, oracle.Parsing(len(b)))
		e := &types.Envelope{}
		if proto.Unmarshal(b, e) != nil {
			return
		}
		n, ok := notice(e)
		if !ok {
			return
		}
		assert.NotEmpty(t, n.ID)
		if !n.At.IsZero() {
			assert.GreaterOrEqual(t, n.At.Year(), 2001)
			assert.Less(t, n.At.Year(), 2200)
		}
	})
}

func TestLagIsReportedWhenReaderDoesNotCatchUp(t *testing.T) {
	now := time.Date(2026, 11, 22, 19, 0, 0, 0, time.UTC)
	l := &lag{now: func() time.Time { return now }}
	require.NoError(t, l.check(now))
	require.NoError(t, l.check(time.Time{}), "an event without a time does not count")
	require.NoError(t, l.check(now.Add(time.Hour)), "the clock went back")
	require.NoError(t, l.check(now.Add(-time.Minute)), "it was paused")
	now = now.Add(catchUp)
	require.NoError(t, l.check(now.Add(-maxLag)), "and caught up")
	require.NoError(t, l.check(now.Add(-time.Minute)))
	now = now.Add(catchUp)
	require.NoError(t, l.check(now.Add(-time.Minute)))
	now = now.Add(time.Millisecond)
	require.ErrorIs(t, l.check(now.Add(-time.Minute)), ErrBehind)
}

func TestWatchReturnsErrNoStreamWithoutEventService(t *testing.T) {
	dir, err := os.MkdirTemp("", "ctrd") //nolint:usetesting // a test's own directory has too long a name for a socket
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	s, err := crifake.Start(filepath.Join(dir, "c.sock"), crifake.Options{})
	require.NoError(t, err)
	defer s.Stop()
	base, err := cri.New(cri.Options{Endpoint: s.Endpoint()})
	require.NoError(t, err)
	defer base.Close()
	err = New(base).Watch(context.Background(), func() { t.Error("ready without a stream") }, func(runtime.Notice) {})
	require.ErrorIs(t, err, runtime.ErrNoStream)
}
