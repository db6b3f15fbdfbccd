// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"flag"
	"path/filepath"
	"strings"
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/golden"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/plogtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/zastava-otel/zastava/internal/container"
)

var update = flag.Bool("update", false, "write the golden files")

func compareGolden(t *testing.T, name string, got plog.Logs) {
	t.Helper()
	path := filepath.Join("testdata", name+".yaml")
	if *update {
		require.NoError(t, golden.WriteLogsToFile(path, got))
	}
	want, err := golden.ReadLogs(path)
	require.NoError(t, err)
	require.NoError(t, plogtest.CompareLogs(want, got))
	// CompareLogs ignores event names and schema URLs.
	wantJSON, err := (&plog.JSONMarshaler{}).MarshalLogs(want)
	require.NoError(t, err)
	gotJSON, err := (&plog.JSONMarshaler{}).MarshalLogs(got)
	require.NoError(t, err)
	require.JSONEq(t, string(wantJSON), string(gotJSON))
}

func TestRecordsMatchGoldenFiles(t *testing.T) {
	for _, tr := range sampleTransitions() {
		t.Run(tr.Kind.String(), func(t *testing.T) {
			batch := sampleEncoder().NewBatch()
			batch.Append(&tr)
			compareGolden(t, tr.Kind.String(), batch.Logs())
		})
	}
	t.Run("gap", func(t *testing.T) {
		batch := sampleEncoder().NewBatch()
		batch.AppendGap(sampleGap(), observed)
		compareGolden(t, "gap", batch.Logs())
	})
}

func TestSchemaListsEveryAttribute(t *testing.T) {
	resource := map[string]pcommon.ValueType{}
	for _, a := range ResourceAttributes() {
		resource[a.Name] = a.Type
	}
	events := map[string]map[string]pcommon.ValueType{}
	for _, e := range EventTypes() {
		events[e.Name] = map[string]pcommon.ValueType{}
		for _, a := range e.Attributes {
			events[e.Name][a.Name] = a.Type
		}
	}
	batch := sampleEncoder().NewBatch()
	for _, tr := range sampleTransitions() {
		batch.Append(&tr)
	}
	batch.AppendGap(sampleGap(), observed)
	for _, rl := range batch.Logs().ResourceLogs().All() {
		for key, v := range rl.Resource().Attributes().All() {
			for _, prefix := range []string{AttrContainerLabelPrefix, AttrAnnotationPrefix} {
				if strings.HasPrefix(key, prefix) {
					key = prefix
				}
			}
			require.Contains(t, resource, key)
			assert.Equal(t, resource[key], v.Type(), key)
		}
		for _, lr := range rl.ScopeLogs().At(0).LogRecords().All() {
			require.Contains(t, events, lr.EventName())
			for key, v := range lr.Attributes().All() {
				require.Contains(t, events[lr.EventName()], key, lr.EventName())
				assert.Equal(t, events[lr.EventName()][key], v.Type(), key)
			}
		}
	}
}

func TestConsecutiveTransitionsOfOneContainerShareAResource(t *testing.T) {
	all := sampleTransitions()
	other := sampleContainer()
	other.ID = "other"
	batch := sampleEncoder().NewBatch()
	for _, tr := range all[:3] {
		batch.Append(&tr)
	}
	moved := all[3]
	moved.Container = other
	batch.Append(&moved)
	recounted := moved
	recounted.RestartCount = 4
	batch.Append(&recounted)
	batch.AppendGap(sampleGap(), observed)
	batch.Append(&recounted)

	assert.Equal(t, 7, batch.Len())
	assert.Equal(t, 7, batch.Logs().LogRecordCount())
	var sizes []int
	for _, rl := range batch.Logs().ResourceLogs().All() {
		sizes = append(sizes, rl.ScopeLogs().At(0).LogRecords().Len())
		assert.Equal(t, SchemaURL, rl.SchemaUrl())
	}
	assert.Equal(t, []int{3, 1, 1, 1, 1}, sizes)
}

func TestUnknownValuesAreAbsentAttributes(t *testing.T) {
	batch := (&Encoder{HostName: "h"}).NewBatch()
	batch.Append(&container.Transition{
		Kind: container.KindStopped, When: finished, State: container.StateExited,
		Container: &container.Container{Engine: "docker", ID: "abc"},
	})
	rl := batch.Logs().ResourceLogs().At(0)
	assert.Equal(t, map[string]any{"host.name": "h", "container.id": "abc", "container.runtime.name": "docker"},
		rl.Resource().Attributes().AsRaw())
	lr := rl.ScopeLogs().At(0).LogRecords().At(0)
	assert.Zero(t, lr.ObservedTimestamp())
	raw := lr.Attributes().AsRaw()
	delete(raw, AttrEventID)
	assert.Equal(t, map[string]any{
		AttrEventRevision: int64(0), AttrContainerState: "exited", AttrRestartCount: int64(0),
		AttrSource: "list", AttrPrecision: "exact", AttrMissedRuns: int64(0),
	}, raw)
}

func TestExitCodesAreUnsigned(t *testing.T) {
	tr := sampleTransitions()[3]
	tr.Run.ExitCode = 3_221_225_786 // Windows: STATUS_CONTROL_C_EXIT
	batch := sampleEncoder().NewBatch()
	batch.Append(&tr)
	code, ok := batch.Logs().ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Attributes().Get(AttrExitCode)
	require.True(t, ok)
	assert.Equal(t, int64(3_221_225_786), code.Int())
}

func TestExitSignalIsAbsentWhenContainerRunsOnWindows(t *testing.T) {
	enc := sampleEncoder()
	enc.OS = "windows"
	tr := sampleTransitions()[3]
	batch := enc.NewBatch()
	batch.Append(&tr)
	_, ok := batch.Logs().ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Attributes().Get(AttrExitSignal)
	assert.False(t, ok)
}

func TestSplitReferenceReturnsNameAndTag(t *testing.T) {
	digest := "sha256:" + strings.Repeat("ab", 32)
	for _, tt := range []struct{ desc, ref, name, tag string }{
		{"short name", "nginx", "nginx", ""},
		{"name and tag", "nginx:1.27", "nginx", "1.27"},
		{"registry", "ghcr.io/acme/api:1.8", "ghcr.io/acme/api", "1.8"},
		{"registry with a port and no tag", "localhost:5000/acme/api", "localhost:5000/acme/api", ""},
		{"registry with a port and a tag", "localhost:5000/api:v2", "localhost:5000/api", "v2"},
		{"digest", "ghcr.io/acme/api@" + digest, "ghcr.io/acme/api", ""},
		{"tag and digest", "ghcr.io/acme/api:1.8@" + digest, "ghcr.io/acme/api", "1.8"},
		{"IPv6 registry", "[::1]:5000/api:v2", "[::1]:5000/api", "v2"},
		{"bare digest", digest, "", ""},
		{"bare image id", strings.Repeat("ab", 32), "", ""},
		{"empty", "", "", ""},
		{"upper case", "Nginx", "", ""},
		{"spaces", "not a reference", "", ""},
		{"other bytes", "\xff\x00:\xfe", "", ""},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			name, tag := splitReference(tt.ref)
			assert.Equal(t, tt.name, name)
			assert.Equal(t, tt.tag, tag)
		})
	}
}

func TestBodyDescribesTheTransition(t *testing.T) {
	plain := &container.Container{Engine: "docker", ID: "0123456789abcdef", Name: "web"}
	nameless := &container.Container{Engine: "docker", ID: "0123456789abcdef"}
	exited := func(r container.Run) container.Transition {
		return container.Transition{Kind: container.KindStopped, Container: plain, Run: r}
	}
	for _, tt := range []struct {
		desc string
		tr   container.Transition
		want string
	}{
		{"stop in a pod", sampleTransitions()[3], "container api in payments/api-7c9fbbd8b7-ktd84 stopped: exit 137, OOMKilled, ran 3m12s"},
		{"inventory", sampleTransitions()[1], "container api in payments/api-7c9fbbd8b7-ktd84 was already running when observation began, started 2026-11-22T18:06:32Z"},
		{"restart after unseen runs", sampleTransitions()[2], "container api in payments/api-7c9fbbd8b7-ktd84 restarted, previous run: exit 1, Error, 2 runs in between not seen"},
		{"crash loop", sampleTransitions()[9], "container api in payments/api-7c9fbbd8b7-ktd84 keeps failing: 3 times within 10m0s, mostly exit 1, Error"},
		{"start failed", exited(container.Run{ExitCode: 128, ExitKnown: true, Reason: "StartError"}), "container web did not start: exit 128, StartError"},
		{"exit unknown", exited(container.Run{StartedAt: started, Reason: "host_reboot"}), "container web stopped: exit unknown, host_reboot"},
		{"short life", exited(container.Run{StartedAt: started, FinishedAt: started.Add(50_400_000), ExitKnown: true}), "container web stopped: exit 0, ran 50ms"},
		{"OOM without the reason", exited(container.Run{StartedAt: started, ExitCode: 1, ExitKnown: true, Reason: "Error", OOMKilled: true}), "container web stopped: exit 1, Error, OOM-killed"},
		{"no name", container.Transition{Kind: container.KindPaused, Container: nameless}, "container 0123456789ab paused"},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			assert.Equal(t, tt.want, body(&tt.tr))
		})
	}
	assert.Equal(t, "observer could not see containerd (main) for 3m12s: list_failed, 4 transitions folded into later ones", gapBody(sampleGap()))
}

func TestSeverityDependsOnTheOutcome(t *testing.T) {
	stop := func(r container.Run) *container.Transition {
		return &container.Transition{Kind: container.KindStopped, Run: r}
	}
	assert.Equal(t, plog.SeverityNumberInfo, severity(stop(container.Run{ExitKnown: true})))
	assert.Equal(t, plog.SeverityNumberInfo, severity(stop(container.Run{})))
	assert.Equal(t, plog.SeverityNumberWarn, severity(stop(container.Run{ExitKnown: true, ExitCode: 3})))
	assert.Equal(t, plog.SeverityNumberError, severity(stop(container.Run{OOMKilled: true})))
	assert.Equal(t, plog.SeverityNumberError, severity(&container.Transition{Kind: container.KindOOM}))
	assert.Equal(t, plog.SeverityNumberError, severity(&container.Transition{Kind: container.KindCrashLoop}))
	assert.Equal(t, plog.SeverityNumberInfo, severity(&container.Transition{Kind: container.KindCrashLoopEnded}))
}
