// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package queuestate

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/pdata/plog"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/zastava-otel/zastava/internal/test/oracle"
)

// memory is a storage whose contents a test can read.
type memory struct {
	component.StartFunc
	component.ShutdownFunc
	storage.Client
	values map[string][]byte
}

func (m *memory) GetClient(context.Context, component.Kind, component.ID, string) (storage.Client, error) {
	return m, nil
}
func (m *memory) Get(_ context.Context, key string) ([]byte, error) { return m.values[key], nil }
func (m *memory) Set(_ context.Context, key string, value []byte) error {
	m.values[key] = value
	return nil
}
func (m *memory) Close(context.Context) error { return nil }
func (m *memory) Batch(_ context.Context, ops ...*storage.Operation) error {
	for _, op := range ops {
		switch op.Type {
		case storage.Get:
			op.Value = m.values[op.Key]
		case storage.Set:
			m.values[op.Key] = op.Value
		case storage.Delete:
			delete(m.values, op.Key)
		}
	}
	return nil
}

type host struct {
	component.Host
	extensions map[component.ID]component.Component
}

func (h host) GetExtensions() map[component.ID]component.Component { return h.extensions }

// The queue is that of the pinned exporterhelper: this test fails when the collector changes the key or the format.
func TestCollectorQueueWritesTheStateThatParseReads(t *testing.T) {
	id := component.MustNewID("memory")
	queue := exporterhelper.NewDefaultQueueConfig()
	queue.StorageID, queue.NumConsumers = &id, 1
	m := &memory{values: map[string][]byte{}}
	begun, release := make(chan struct{}), make(chan struct{})
	exp, err := exporterhelper.NewLogs(t.Context(), exportertest.NewNopSettings(component.MustNewType("nop")), &struct{}{},
		func(context.Context, plog.Logs) error {
			begun <- struct{}{}
			<-release
			return nil
		}, exporterhelper.WithQueue(configoptional.Some(queue)))
	require.NoError(t, err)
	var reported atomic.Pointer[State]
	watched := Watch(host{componenttest.NewNopHost(), map[component.ID]component.Component{id: m}}, func(s State) { reported.Store(&s) })
	require.NoError(t, exp.Start(t.Context(), watched))
	logs := plog.NewLogs()
	logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body().SetStr("one")
	require.NoError(t, exp.ConsumeLogs(t.Context(), logs))
	<-begun
	require.NoError(t, exp.ConsumeLogs(t.Context(), logs))
	require.NoError(t, exp.ConsumeLogs(t.Context(), logs))

	s, err := Parse(m.values[Key])
	require.NoError(t, err)
	size := uint64((&plog.ProtoMarshaler{}).LogsSize(logs))
	assert.Equal(t, State{Items: 3, Bytes: 3 * size, ReadIndex: 1, WriteIndex: 3, Dispatched: 1}, s)
	assert.Equal(t, uint64(3), s.Requests())
	assert.Equal(t, s, *reported.Load(), "Watch reports it")
	go func() {
		for range begun {
		}
	}()
	close(release)
	require.NoError(t, exp.Shutdown(context.Background()))
	close(begun)
}

func TestWatchKeepsExtensionsThatAreNoStorage(t *testing.T) {
	id := component.MustNewID("other")
	other := struct{ component.Component }{}
	watched := Watch(host{componenttest.NewNopHost(), map[component.ID]component.Component{id: other}}, func(State) {})
	assert.Equal(t, other, watched.GetExtensions()[id])
}

func TestAppendKeepsFieldsOfALaterVersion(t *testing.T) {
	raw := protowire.AppendBytes(protowire.AppendTag(nil, FieldDispatched, protowire.BytesType), make([]byte, 16))
	raw = protowire.AppendVarint(protowire.AppendTag(raw, 9, protowire.VarintType), 7) // of a later version
	want := State{Items: 1, Bytes: 2, ReadIndex: 3, WriteIndex: 4, Dispatched: 2}
	out, err := Append(raw, want)
	require.NoError(t, err)
	got, err := Parse(out)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	assert.Contains(t, string(out), string(raw))
	again, err := Append(out, want)
	require.NoError(t, err)
	assert.Len(t, again, len(out))
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0x09, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, raw []byte) {
		oracle.Bound(t, oracle.Parsing(len(raw)))
		s, err := Parse(raw)
		if err != nil {
			require.ErrorIs(t, err, ErrFormat)
			return
		}
		out, err := Append(raw, s)
		require.NoError(t, err)
		again, err := Parse(out)
		if !errors.Is(err, ErrFormat) {
			require.Equal(t, s, again)
		}
	})
}
