// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavastorageextension

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/zastava-otel/zastava/extension/zastavastorageextension/internal/journal"
	"github.com/zastava-otel/zastava/extension/zastavastorageextension/internal/metadata"
	"github.com/zastava-otel/zastava/extension/zastavastorageextension/internal/metadatatest"
	"github.com/zastava-otel/zastava/internal/queuestate"
)

var exporterID = component.MustNewIDWithName("zastavabackend", "a/b")

type rig struct {
	*store
	telemetry *componenttest.Telemetry
}

func newRig(t *testing.T, directory string) *rig {
	t.Helper()
	r := &rig{telemetry: componenttest.NewTelemetry()}
	cfg := createDefaultConfig().(*Config)
	cfg.Directory, cfg.LockTimeout = directory, 10*time.Millisecond
	require.NoError(t, cfg.Validate())
	ext, err := NewFactory().Create(context.Background(), metadatatest.NewSettings(r.telemetry), cfg)
	require.NoError(t, err)
	r.store = ext.(*store)
	require.NoError(t, r.Start(context.Background(), componenttest.NewNopHost()))
	t.Cleanup(func() {
		require.NoError(t, r.Shutdown(context.Background()))
		require.NoError(t, r.telemetry.Shutdown(context.Background()))
	})
	return r
}

func (r *rig) client(t *testing.T) storage.Client {
	t.Helper()
	c, err := r.GetClient(context.Background(), component.KindExporter, exporterID, "logs")
	require.NoError(t, err)
	return c
}

func (r *rig) faults(t *testing.T) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	m, err := r.telemetry.GetMetric("otelcol_extension_zastavastorage_faults")
	if err != nil {
		return out
	}
	for _, dp := range m.Data.(metricdata.Sum[int64]).DataPoints {
		v, _ := dp.Attributes.Value(attribute.Key("fault"))
		out[v.AsString()] += dp.Value
	}
	return out
}

// state returns the state of a queue with waiting items [from, to) and one item that is being sent.
func state(t *testing.T, from, to uint64) []byte {
	t.Helper()
	sent := protowire.AppendBytes(protowire.AppendTag(nil, queuestate.FieldDispatched, protowire.BytesType), make([]byte, 8))
	out, err := queuestate.Append(sent, queuestate.State{Items: to - from, Bytes: 100 * (to - from), ReadIndex: from, WriteIndex: to})
	require.NoError(t, err)
	return out
}

func fill(t *testing.T, c storage.Client, from, to uint64, what string) {
	t.Helper()
	for n := from; n < to; n++ {
		require.NoError(t, c.Batch(context.Background(), storage.SetOperation(queuestate.Key, state(t, from, n+1)),
			storage.SetOperation(strconv.FormatUint(n, 10), []byte(what+strconv.FormatUint(n, 10)))))
	}
}

func TestBatchReadsTheChangesOfEarlierOperations(t *testing.T) {
	c := newRig(t, t.TempDir()).client(t)
	first, second, third, empty := storage.GetOperation("k"), storage.GetOperation("k"), storage.GetOperation("k"), storage.GetOperation("e")
	require.NoError(t, c.Batch(t.Context(), first, storage.SetOperation("k", []byte("v")), second, storage.DeleteOperation("k"), third,
		storage.SetOperation("e", nil), empty))
	assert.Nil(t, first.Value)
	assert.Equal(t, "v", string(second.Value))
	assert.Nil(t, third.Value)
	value, err := c.Get(t.Context(), "e")
	require.NoError(t, err)
	assert.Equal(t, []byte{}, value, "an empty value exists")
	require.Error(t, c.Batch(t.Context(), &storage.Operation{Key: "k", Type: 7}))
	require.NoError(t, c.Close(t.Context()))
}

func TestStartSucceedsWhenTheFileIsGarbage(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, dir)
	c := r.client(t)
	fill(t, c, 0, 3, "item ")
	require.NoError(t, c.Close(t.Context()))
	files, err := filepath.Glob(filepath.Join(dir, "exporter_zastavabackend_a~002Fb_logs", "*.journal"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.NoError(t, os.WriteFile(files[0], []byte("garbage"), 0o600))

	c = r.client(t)
	value, err := c.Get(t.Context(), queuestate.Key)
	require.NoError(t, err)
	assert.Nil(t, value)
	fill(t, c, 0, 1, "new ")
	require.NoError(t, c.Close(t.Context()))
	assert.Equal(t, map[string]int64{faultDamaged: 1, faultAside: 1}, r.faults(t))
}

func TestSecondDirectoryIsUsedAndMovedBackWhenTheFirstIsLocked(t *testing.T) {
	dir := t.TempDir()
	first, second := newRig(t, dir), newRig(t, dir)
	a := first.client(t)
	fill(t, a, 5, 7, "a")
	b := second.client(t)
	fill(t, b, 0, 2, "b")
	assert.Equal(t, map[string]int64{faultLocked: 1}, second.faults(t))
	require.NoError(t, b.Close(t.Context()))

	// The second directory is free while the first one is in use, so the next client gets it again.
	b = second.client(t)
	value, err := b.Get(t.Context(), "1")
	require.NoError(t, err)
	assert.Equal(t, "b1", string(value))
	require.NoError(t, b.Close(t.Context()))
	require.NoError(t, a.Close(t.Context()))

	a = first.client(t)
	for key, want := range map[string]string{"5": "a5", "6": "a6", "7": "b0", "8": "b1"} {
		value, err := a.Get(t.Context(), key)
		require.NoError(t, err)
		assert.Equal(t, want, string(value))
	}
	raw, err := a.Get(t.Context(), queuestate.Key)
	require.NoError(t, err)
	got, err := queuestate.Parse(raw)
	require.NoError(t, err)
	assert.Equal(t, queuestate.State{Items: 4, Bytes: 400, ReadIndex: 5, WriteIndex: 9, Dispatched: 1}, got)
	require.NoError(t, a.Close(t.Context()))
	assert.NoDirExists(t, filepath.Join(dir, "exporter_zastavabackend_a~002Fb_logs.2"))
}

func TestStartRefusesADirectoryThatOtherUsersCanChange(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("access lists decide, not modes")
	}
	for mode, refused := range map[os.FileMode]bool{0o700: false, 0o755: false, 0o770: true, 0o702: true, 0o777: true} {
		dir := t.TempDir()
		require.NoError(t, os.Chmod(dir, mode))
		core, logs := observer.New(zap.WarnLevel)
		settings := extensiontest.NewNopSettings(metadata.Type)
		settings.Logger = zap.New(core)
		ext, err := NewFactory().Create(t.Context(), settings, &Config{Directory: dir})
		require.NoError(t, err)
		err = ext.Start(t.Context(), componenttest.NewNopHost())
		require.NoError(t, ext.Shutdown(t.Context()))
		if refused {
			require.ErrorContains(t, err, "directory "+dir+" has mode")
			require.ErrorContains(t, err, "chmod")
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, mode != 0o700, logs.Len() == 1, "%o", mode)
	}
}

func TestComponentFailsWhenOtherUsersCanChangeItsDirectory(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("access lists decide, not modes")
	}
	root := t.TempDir()
	dir := filepath.Join(root, "exporter_zastavabackend_a~002Fb_logs")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.Chmod(dir, 0o777))
	_, err := newRig(t, root).GetClient(t.Context(), component.KindExporter, exporterID, "logs")
	require.ErrorContains(t, err, "has mode 0777")
}

// The journal of the exporter's queue and that of the receiver's checkpoint are swapped.
func TestSwappedFilesAreSetAsideAndCounted(t *testing.T) {
	root := t.TempDir()
	r := newRig(t, root)
	receiverID := component.MustNewID("criobserver")
	clients := func() (queue, checkpoint storage.Client) {
		c, err := r.GetClient(t.Context(), component.KindReceiver, receiverID, "docker")
		require.NoError(t, err)
		return r.client(t), c
	}
	queue, checkpoint := clients()
	fill(t, queue, 0, 3, "item ")
	require.NoError(t, checkpoint.Set(t.Context(), "meta", []byte("checkpoint")))
	require.NoError(t, queue.Close(t.Context()))
	require.NoError(t, checkpoint.Close(t.Context()))
	a := filepath.Join(root, "exporter_zastavabackend_a~002Fb_logs", "0000000000000001.journal")
	b := filepath.Join(root, "receiver_criobserver__docker", "0000000000000001.journal")
	require.NoError(t, os.Rename(a, a+".swap"))
	require.NoError(t, os.Rename(b, a))
	require.NoError(t, os.Rename(a+".swap", b))

	queue, checkpoint = clients()
	assert.Equal(t, map[string]int64{faultForeign: 2}, r.faults(t))
	for _, c := range []storage.Client{queue, checkpoint} {
		for _, key := range []string{queuestate.Key, "0", "meta"} {
			value, err := c.Get(t.Context(), key)
			require.NoError(t, err)
			assert.Nil(t, value, key)
		}
	}
	fill(t, queue, 0, 1, "new ")
	require.NoError(t, queue.Close(t.Context()))
	require.NoError(t, checkpoint.Close(t.Context()))
	assert.FileExists(t, a+".foreign")
	assert.FileExists(t, b+".foreign")
}

func TestRemovedFilesAreWrittenAgainAndCounted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("open files cannot be removed")
	}
	root := filepath.Join(t.TempDir(), "root")
	r := newRig(t, root)
	c := r.client(t)
	fill(t, c, 0, 3, "item ")
	require.NoError(t, os.RemoveAll(root))
	require.Eventually(t, func() bool { return r.faults(t)[faultRemoved] == 1 }, time.Minute, 50*time.Millisecond, "although nothing is written")
	fill(t, c, 3, 4, "item ")
	value, err := c.Get(t.Context(), "0")
	require.NoError(t, err)
	assert.Equal(t, "item 0", string(value))
	require.NoError(t, c.Close(t.Context()))
	c = r.client(t)
	for _, key := range []string{"0", "3"} {
		value, err = c.Get(t.Context(), key)
		require.NoError(t, err)
		assert.Equal(t, "item "+key, string(value))
	}
	require.NoError(t, c.Close(t.Context()))
	assert.Equal(t, map[string]int64{faultRemoved: 1}, r.faults(t))
}

func TestFaultsOfOneKindAreLoggedOnceAMinute(t *testing.T) {
	r := newRig(t, t.TempDir())
	core, logs := observer.New(zap.ErrorLevel)
	r.logger = zap.New(core)
	report := r.reporter("client", "directory")
	for range 100 {
		report(journal.FaultRemoved, errors.New("removed"))
		report(journal.FaultOdd, errors.New("odd"))
	}
	assert.Equal(t, 2, logs.Len())
	assert.Equal(t, map[string]int64{faultRemoved: 100, faultOdd: 100}, r.faults(t))
}

func TestMetricsReportTheSizes(t *testing.T) {
	r := newRig(t, t.TempDir())
	c := r.client(t)
	fill(t, c, 0, 3, "item ")
	for _, name := range []string{"file_bytes", "live_bytes", "free_bytes"} {
		m, err := r.telemetry.GetMetric("otelcol_extension_zastavastorage_" + name)
		require.NoError(t, err, name)
		assert.Positive(t, m.Data.(metricdata.Gauge[int64]).DataPoints[0].Value, name)
	}
	require.NoError(t, c.Close(t.Context()))
}

func TestClientNamesAreUniqueAndSafe(t *testing.T) {
	id := component.MustNewIDWithName
	seen := map[string]bool{}
	for _, name := range []string{
		clientName(component.KindExporter, id("x", "a"), "logs"), clientName(component.KindExporter, id("x", "a_logs"), ""),
		clientName(component.KindExporter, component.MustNewID("x"), "logs"), clientName(component.KindReceiver, id("x", "a"), "logs"),
		clientName(component.KindExporter, id("x", "a.2"), "logs"), clientName(component.KindExporter, id("x", "../.."), "logs"),
	} {
		assert.False(t, seen[name], name)
		assert.NotContains(t, name, ".")
		assert.NotContains(t, name, "/")
		seen[name] = true
	}
}

func TestValidateReportsEveryFault(t *testing.T) {
	err := (&Config{LockTimeout: -1}).Validate()
	require.ErrorContains(t, err, "directory is empty")
	require.ErrorContains(t, err, "lock_timeout -1ns is not between")
	require.NoError(t, (&Config{Directory: "/var/lib/zastava"}).Validate())
}
