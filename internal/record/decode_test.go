// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"pgregory.net/rapid"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

func sampleDecoder() *Decoder {
	return &Decoder{
		Tenant: "acme", Project: "payments", Node: "fallback",
		Annotations: map[string]string{"deployment": "cluster-a"},
	}
}

// overTheWire marshals and unmarshals logs, as OTLP hops and persistent queues do.
func overTheWire(t require.TestingT, logs plog.Logs) plog.Logs {
	raw, err := (&plog.ProtoMarshaler{}).MarshalLogs(logs)
	require.NoError(t, err)
	out, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(raw)
	require.NoError(t, err)
	return out
}

func one(logs plog.Logs) (plog.ResourceLogs, plog.LogRecord) {
	rl := logs.ResourceLogs().At(0)
	return rl, rl.ScopeLogs().At(0).LogRecords().At(0)
}

func encodeStop() plog.Logs {
	batch := sampleEncoder().NewBatch()
	batch.Append(&sampleTransitions()[3])
	return batch.Logs()
}

func TestDecodeReturnsTheEventOfTheContract(t *testing.T) {
	rl, lr := one(overTheWire(t, encodeStop()))
	got, err := sampleDecoder().Origin(rl.Resource()).Event(lr)
	require.NoError(t, err)
	assert.Equal(t, backendapi.Event{
		EventID: EventID(&sampleTransitions()[3]), Revision: 1, When: finished, Kind: backendapi.KindStop,
		Tenant: "acme", Project: "payments", Node: "node-a",
		Runtime: backendapi.Runtime{Engine: "containerd", Version: "2.4.2"},
		Workload: &backendapi.Workload{
			Platform: "kubernetes", Namespace: "payments", Pod: "api-7c9fbbd8b7-ktd84", PodUID: "0c1e6f5a-53a4-4e0f-9d9d-1c0c5a3f1e11",
			Container: "api", ContainerID: "containerd://4f1a9c0d2b3e4f5061728394a5b6c7d8e9f00112233445566778899aabbccdde",
			ImageRef:    "ghcr.io/acme/api:1.8",
			ImageDigest: "sha256:ab00000000000000000000000000000000000000000000000000000000000002",
			ImageID:     "sha256:cd00000000000000000000000000000000000000000000000000000000000001",
			Labels:      map[string]string{"app": "api", "tier": "backend"},
		},
		Run: &backendapi.Run{
			StartedAt: new(started), FinishedAt: new(finished), RestartCount: new(uint32(3)), ExitCode: new(uint32(137)),
			Signal: "SIGKILL", Reason: "OOMKilled", OOMKilled: true,
		},
		Process:     &backendapi.Process{PID: 12345},
		Observation: backendapi.Observation{Source: "stream", Precision: "exact", MissedRuns: new(uint32(0)), ObservedAt: new(observed)},
		Annotations: map[string]string{"team": "payments", "deployment": "cluster-a"},
	}, got)
}

func TestDecodeReturnsTheGapOfTheContract(t *testing.T) {
	batch := sampleEncoder().NewBatch()
	batch.AppendGap(sampleGap(), observed)
	rl, lr := one(overTheWire(t, batch.Logs()))
	got, err := sampleDecoder().Origin(rl.Resource()).Event(lr)
	require.NoError(t, err)
	assert.Equal(t, backendapi.Event{
		EventID: GapID("node-a", sampleGap()), When: finished, Kind: backendapi.KindObserverGap,
		Tenant: "acme", Project: "payments", Node: "node-a",
		Runtime: backendapi.Runtime{Engine: "containerd", Version: "2.4.2"},
		Gap:     &backendapi.Gap{Runtime: "main", From: started, To: finished, Cause: "list_failed", Folded: 4},
		Observation: backendapi.Observation{
			Source: "list", Precision: "window", WindowStart: new(started), MissedUnknown: true, ObservedAt: new(observed),
		},
		Annotations: map[string]string{"deployment": "cluster-a"},
	}, got)
}

// A processor may have added a number beside "unknown".
func TestDecodeIgnoresMissedRunsWhenTheyAreUnknown(t *testing.T) {
	rl, lr := one(encodeStop())
	lr.Attributes().PutInt(AttrMissedRuns, 3)
	got, err := sampleDecoder().Origin(rl.Resource()).Event(lr)
	require.NoError(t, err)
	require.NotNil(t, got.Observation.MissedRuns)
	lr.Attributes().PutBool(AttrMissedUnknown, true)
	got, err = sampleDecoder().Origin(rl.Resource()).Event(lr)
	require.NoError(t, err)
	assert.Nil(t, got.Observation.MissedRuns)
	assert.True(t, got.Observation.MissedUnknown)
}

func TestDecodeGapStartsAtItsEndWhenTheBeginningIsUnknown(t *testing.T) {
	gap := sampleGap()
	gap.From = time.Time{}
	batch := sampleEncoder().NewBatch()
	batch.AppendGap(gap, observed)
	rl, lr := one(batch.Logs())
	got, err := sampleDecoder().Origin(rl.Resource()).Event(lr)
	require.NoError(t, err)
	assert.Equal(t, finished, got.Gap.From)
	assert.Nil(t, got.Observation.WindowStart)
	assert.NotEqual(t, GapID("node-a", sampleGap()), got.EventID)
}

func TestDecodeToleratesChangesOfProcessors(t *testing.T) {
	for _, tt := range []struct {
		desc   string
		change func(plog.ResourceLogs, plog.LogRecord)
		check  func(*assert.Assertions, *backendapi.Event)
	}{
		{
			"numbers became strings",
			func(_ plog.ResourceLogs, lr plog.LogRecord) {
				lr.Attributes().PutStr(AttrExitCode, "4294967295")
				lr.Attributes().PutStr(AttrOOMKilled, "true")
				lr.Attributes().PutStr(AttrEventRevision, "2")
			},
			func(a *assert.Assertions, ev *backendapi.Event) {
				a.Equal(uint32(4294967295), *ev.Run.ExitCode)
				a.True(ev.Run.OOMKilled)
				a.Equal(uint32(2), ev.Revision)
			},
		},
		{
			"numbers became doubles",
			func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Attributes().PutDouble(AttrExitCode, 137) },
			func(a *assert.Assertions, ev *backendapi.Event) { a.Equal(uint32(137), *ev.Run.ExitCode) },
		},
		{
			"an exit code is written as signed",
			func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Attributes().PutInt(AttrExitCode, -1) },
			func(a *assert.Assertions, ev *backendapi.Event) { a.Equal(uint32(4294967295), *ev.Run.ExitCode) },
		},
		{
			"an exit code is unusable",
			func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Attributes().PutStr(AttrExitCode, "n/a") },
			func(a *assert.Assertions, ev *backendapi.Event) { a.Nil(ev.Run.ExitCode) },
		},
		{
			"times became integers",
			func(_ plog.ResourceLogs, lr plog.LogRecord) {
				lr.Attributes().PutInt(AttrRunStartedAt, started.UnixNano())
			},
			func(a *assert.Assertions, ev *backendapi.Event) { a.Equal(started, *ev.Run.StartedAt) },
		},
		{
			"a time is invalid",
			func(_ plog.ResourceLogs, lr plog.LogRecord) {
				lr.Attributes().PutStr(AttrRunStartedAt, "yesterday")
				lr.Attributes().PutStr(AttrRunFinishedAt, "9999-12-31T23:59:59-12:00")
			},
			func(a *assert.Assertions, ev *backendapi.Event) {
				a.Nil(ev.Run.StartedAt)
				a.Nil(ev.Run.FinishedAt)
			},
		},
		{
			"the event name moved into an attribute",
			func(_ plog.ResourceLogs, lr plog.LogRecord) {
				lr.Attributes().PutStr("event.name", lr.EventName())
				lr.SetEventName("")
			},
			func(a *assert.Assertions, ev *backendapi.Event) { a.Equal(backendapi.KindStop, ev.Kind) },
		},
		{
			"the time is gone",
			func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.SetTimestamp(0) },
			func(a *assert.Assertions, ev *backendapi.Event) {
				a.Equal(observed, ev.When)
				a.Equal("window", ev.Observation.Precision)
			},
		},
		{
			"the node name is gone",
			func(rl plog.ResourceLogs, _ plog.LogRecord) { rl.Resource().Attributes().Remove(AttrK8sNodeName) },
			func(a *assert.Assertions, ev *backendapi.Event) { a.Equal("ip-10-0-1-23", ev.Node) },
		},
		{
			"node and host are gone",
			func(rl plog.ResourceLogs, _ plog.LogRecord) {
				rl.Resource().Attributes().Remove(AttrK8sNodeName)
				rl.Resource().Attributes().Remove(AttrHostName)
			},
			func(a *assert.Assertions, ev *backendapi.Event) { a.Equal("fallback", ev.Node) },
		},
		{
			"tags became a string, the manifest digest is gone",
			func(rl plog.ResourceLogs, _ plog.LogRecord) {
				rl.Resource().Attributes().PutStr(AttrImageTags, "1.8")
				rl.Resource().Attributes().Remove(AttrManifestDigest)
			},
			func(a *assert.Assertions, ev *backendapi.Event) {
				a.Equal("ghcr.io/acme/api:1.8", ev.Workload.ImageRef)
				a.Equal("sha256:ab00000000000000000000000000000000000000000000000000000000000002", ev.Workload.ImageDigest)
			},
		},
		{
			"k8sattributes added owner and pod labels",
			func(rl plog.ResourceLogs, _ plog.LogRecord) {
				m := rl.Resource().Attributes()
				m.PutStr("k8s.deployment.name", "api")
				m.PutStr("k8s.replicaset.name", "api-7c9fbbd8b7")
				m.PutStr("k8s.pod.label.app", "from the pod")
				m.PutStr("k8s.pod.labels.release", "r1")
			},
			func(a *assert.Assertions, ev *backendapi.Event) {
				a.Equal(&backendapi.Owner{Kind: "ReplicaSet", Name: "api-7c9fbbd8b7"}, ev.Workload.Owner)
				a.Equal(map[string]string{"app": "api", "tier": "backend", "release": "r1"}, ev.Workload.Labels)
			},
		},
		{
			"the configuration's annotation replaces the container's",
			func(rl plog.ResourceLogs, _ plog.LogRecord) {
				rl.Resource().Attributes().PutStr(AttrAnnotationPrefix+"deployment", "forged")
			},
			func(a *assert.Assertions, ev *backendapi.Event) { a.Equal("cluster-a", ev.Annotations["deployment"]) },
		},
		{
			"strings exceed the wire format",
			func(rl plog.ResourceLogs, lr plog.LogRecord) {
				lr.Attributes().PutStr(AttrExitReason, strings.Repeat("x", backendapi.MaxText+1))
				rl.Resource().Attributes().PutStr(AttrPodName, strings.Repeat("x", backendapi.MaxName+1))
				lr.Attributes().PutStr(AttrPrecision, "guess")
			},
			func(a *assert.Assertions, ev *backendapi.Event) {
				a.Empty(ev.Run.Reason)
				a.Empty(ev.Workload.Pod)
				a.Empty(ev.Observation.Precision)
				a.Equal(uint32(137), *ev.Run.ExitCode)
			},
		},
		{
			"labels exceed the wire format",
			func(rl plog.ResourceLogs, _ plog.LogRecord) {
				rl.Resource().Attributes().PutStr(AttrContainerLabelPrefix+"big", strings.Repeat("x", backendapi.MaxText+1))
				rl.Resource().Attributes().PutStr(AttrContainerLabelPrefix, "no key")
			},
			func(a *assert.Assertions, ev *backendapi.Event) {
				a.Equal(map[string]string{"app": "api", "tier": "backend"}, ev.Workload.Labels)
			},
		},
		{
			"the number of labels exceeds the wire format",
			func(rl plog.ResourceLogs, _ plog.LogRecord) {
				for i := range 1000 {
					rl.Resource().Attributes().PutStr(AttrContainerLabelPrefix+strconv.Itoa(i), "")
					rl.Resource().Attributes().PutStr(attrPodLabelPrefix+"p"+strconv.Itoa(i), "")
				}
			},
			func(a *assert.Assertions, ev *backendapi.Event) { a.Len(ev.Workload.Labels, backendapi.MaxPairs) },
		},
		{
			"only the resource has the restart count",
			func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Attributes().Remove(AttrRestartCount) },
			func(a *assert.Assertions, ev *backendapi.Event) { a.Equal(uint32(3), *ev.Run.RestartCount) },
		},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			rl, lr := one(encodeStop())
			tt.change(rl, lr)
			ev, err := sampleDecoder().Origin(rl.Resource()).Event(lr)
			require.NoError(t, err)
			tt.check(assert.New(t), &ev)
		})
	}
}

func TestDecodeRefusesIncompleteAndForeignRecords(t *testing.T) {
	for _, tt := range []struct {
		desc    string
		change  func(plog.ResourceLogs, plog.LogRecord)
		foreign bool
		names   string
	}{
		{"no event name", func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.SetEventName("") }, true, ""},
		{"another's event name", func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.SetEventName("device.app.lifecycle") }, true, ""},
		{"the event name of a sample", func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.SetEventName("zastava.process.sampled") }, true, ""},
		{"no id", func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Attributes().Remove(AttrEventID) }, true, ""},
		{"no time at all", func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.SetTimestamp(0); lr.SetObservedTimestamp(0) }, false, "timestamp"},
		{"no container", func(rl plog.ResourceLogs, _ plog.LogRecord) { rl.Resource().Attributes().Remove(AttrContainerID) }, false, AttrContainerID},
		{"no engine", func(rl plog.ResourceLogs, _ plog.LogRecord) { rl.Resource().Attributes().Remove(AttrRuntimeName) }, false, AttrRuntimeName},
		{"an invalid container id", func(rl plog.ResourceLogs, _ plog.LogRecord) {
			rl.Resource().Attributes().PutStr(AttrContainerID, "two words")
		}, false, "workload.containerId"},
		{"no source", func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Attributes().Remove(AttrSource) }, false, AttrSource},
		{"no node", func(rl plog.ResourceLogs, _ plog.LogRecord) {
			rl.Resource().Attributes().Remove(AttrK8sNodeName)
			rl.Resource().Attributes().Remove(AttrHostName)
		}, false, AttrK8sNodeName},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			rl, lr := one(encodeStop())
			tt.change(rl, lr)
			_, err := (&Decoder{Tenant: "acme"}).Origin(rl.Resource()).Event(lr)
			if tt.foreign {
				require.ErrorIs(t, err, ErrForeign)
				return
			}
			var invalid *InvalidError
			require.ErrorAs(t, err, &invalid)
			assert.Equal(t, tt.names, invalid.Attribute)
			assert.Equal(t, EventID(&sampleTransitions()[3]), invalid.EventID)
		})
	}
}

const year1971 = 365 * 24 * int64(time.Hour)

// moments draws times that a runtime may report, to the nanosecond, or the zero time.
func moments() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "unset") {
			return time.Time{}
		}
		return time.Unix(0, rapid.Int64Range(year1971, 1<<62).Draw(t, "ns")).UTC()
	})
}

func transitions() *rapid.Generator[container.Transition] {
	return rapid.Custom(func(t *rapid.T) container.Transition {
		word := rapid.StringMatching(`[a-z][a-z0-9-]{0,12}`)
		c := &container.Container{
			Engine: word.Draw(t, "engine"), Version: word.Draw(t, "version"), ID: rapid.StringMatching(`[0-9a-f]{8,64}`).Draw(t, "id"),
			Name: word.Draw(t, "name"), CreatedAt: moments().Draw(t, "created"),
			Image: container.Image{
				Reference: rapid.OneOf(rapid.String(), rapid.StringMatching(`([a-z]{1,5}\.io(:[0-9]{2})?/)?[a-z]{1,5}(:[a-z0-9]{1,5})?(@sha256:[0-9a-f]{64})?`)).Draw(t, "reference"),
			},
			Labels: rapid.MapOf(rapid.StringN(1, 8, -1), rapid.String()).Draw(t, "labels"),
		}
		tr := container.Transition{
			Kind:     container.Kind(rapid.IntRange(1, len(eventNames)-1).Draw(t, "kind")),
			Ordinal:  rapid.Uint32().Draw(t, "ordinal"),
			Revision: rapid.Uint32().Draw(t, "revision"),
			When:     time.Unix(0, rapid.Int64Range(year1971, 1<<62).Draw(t, "when")).UTC(), Container: c,
			Run: container.Run{
				StartedAt: moments().Draw(t, "started"), FinishedAt: moments().Draw(t, "finished"),
				ExitCode: rapid.Uint32().Draw(t, "exit"), ExitKnown: rapid.Bool().Draw(t, "known"),
				Reason: word.Draw(t, "reason"), OOMKilled: rapid.Bool().Draw(t, "oom"), PID: rapid.Uint32().Draw(t, "pid"),
			},
			RestartCount: rapid.Uint32().Draw(t, "restarts"),
			Provenance: container.Provenance{
				Source:      container.Source(rapid.IntRange(0, 3).Draw(t, "source")),
				Precision:   container.Precision(rapid.IntRange(0, 1).Draw(t, "precision")),
				WindowStart: moments().Draw(t, "window"), ObservedAt: moments().Draw(t, "observed"),
				MissedRuns: rapid.Uint32().Draw(t, "missed"), MissedUnknown: rapid.Bool().Draw(t, "unknown"),
			},
		}
		if rapid.Bool().Draw(t, "has previous") {
			tr.Previous = &container.PreviousRun{
				ContainerID: rapid.StringMatching(`[0-9a-f]{8}`).Draw(t, "previous id"), FinishedAt: moments().Draw(t, "previous finished"),
				ExitCode: rapid.Uint32().Draw(t, "previous exit"), ExitKnown: rapid.Bool().Draw(t, "previous known"),
				Reason: word.Draw(t, "previous reason"),
			}
		}
		return tr
	})
}

func TestDecodeReturnsWhatWasEncoded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr := transitions().Draw(t, "transition")
		batch := sampleEncoder().NewBatch()
		batch.Append(&tr)
		rl, lr := one(overTheWire(t, batch.Logs()))
		ev, err := sampleDecoder().Origin(rl.Resource()).Event(lr)
		require.NoError(t, err)

		assert.Equal(t, EventID(&tr), ev.EventID)
		assert.Equal(t, tr.Revision, ev.Revision)
		assert.Equal(t, tr.When, ev.When)
		assert.Equal(t, BackendKind(tr.Kind), ev.Kind)
		assert.Equal(t, tr.Container.Engine, ev.Runtime.Engine)
		assert.Equal(t, tr.Container.Engine+"://"+tr.Container.ID, ev.Workload.ContainerID)
		assert.Equal(t, tr.Container.Image.Reference, ev.Workload.ImageRef)
		if len(tr.Container.Labels) > 0 {
			assert.Equal(t, tr.Container.Labels, ev.Workload.Labels)
		}
		sameTime(t, tr.Run.StartedAt, ev.Run.StartedAt)
		sameTime(t, tr.Run.FinishedAt, ev.Run.FinishedAt)
		sameCode(t, tr.Run.ExitCode, tr.Run.ExitKnown, ev.Run.ExitCode)
		assert.Equal(t, tr.Run.OOMKilled, ev.Run.OOMKilled)
		assert.Equal(t, tr.Run.Reason, ev.Run.Reason)
		assert.Equal(t, tr.RestartCount, *ev.Run.RestartCount)
		if tr.Run.PID != 0 {
			assert.Equal(t, tr.Run.PID, ev.Process.PID)
		}
		if p := tr.Previous; p != nil {
			assert.Equal(t, tr.Container.Engine+"://"+p.ContainerID, ev.Previous.ContainerID)
			sameTime(t, p.FinishedAt, ev.Previous.FinishedAt)
			sameCode(t, p.ExitCode, p.ExitKnown, ev.Previous.ExitCode)
			assert.Equal(t, p.Reason, ev.Previous.Reason)
		} else {
			assert.Nil(t, ev.Previous)
		}
		p := tr.Provenance
		assert.Equal(t, p.Source.String(), ev.Observation.Source)
		assert.Equal(t, p.Precision.String(), ev.Observation.Precision)
		if p.Precision == container.PrecisionWindow {
			sameTime(t, p.WindowStart, ev.Observation.WindowStart)
		} else {
			assert.Nil(t, ev.Observation.WindowStart)
		}
		sameTime(t, p.ObservedAt, ev.Observation.ObservedAt)
		assert.Equal(t, p.MissedUnknown, ev.Observation.MissedUnknown)
		sameCode(t, p.MissedRuns, !p.MissedUnknown, ev.Observation.MissedRuns)
	})
}

func sameTime(t *rapid.T, want time.Time, got *time.Time) {
	if want.IsZero() {
		assert.Nil(t, got)
		return
	}
	require.NotNil(t, got)
	assert.Equal(t, want, *got)
}

func sameCode(t *rapid.T, want uint32, known bool, got *uint32) {
	if !known {
		assert.Nil(t, got)
		return
	}
	require.NotNil(t, got)
	assert.Equal(t, want, *got)
}

// FuzzDecode checks that decoding of any bytes from a hop returns an event or one of the two errors.
func FuzzDecode(f *testing.F) {
	raw, err := (&plog.ProtoMarshaler{}).MarshalLogs(encodeStop())
	require.NoError(f, err)
	f.Add(raw)
	batch := sampleEncoder().NewBatch()
	batch.AppendGap(sampleGap(), observed)
	raw, err = (&plog.ProtoMarshaler{}).MarshalLogs(batch.Logs())
	require.NoError(f, err)
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		oracle.Bound(t, oracle.Parsing(len(raw)))
		logs, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(raw)
		if err != nil {
			return
		}
		dec := sampleDecoder()
		for _, rl := range logs.ResourceLogs().All() {
			origin := dec.Origin(rl.Resource())
			for _, sl := range rl.ScopeLogs().All() {
				for _, lr := range sl.LogRecords().All() {
					ev, err := origin.Event(lr)
					var invalid *InvalidError
					if err != nil {
						require.True(t, assert.ObjectsAreEqual(ErrForeign, err) || assert.ErrorAs(t, err, &invalid))
						continue
					}
					assert.NotEmpty(t, ev.EventID)
					assert.False(t, ev.When.IsZero())
				}
			}
		}
	})
}

func TestGapIDsDifferWhenGapsBeginWithTheSameList(t *testing.T) {
	first := sampleGap()
	second := *first
	second.To = first.To.Add(time.Second)
	assert.NotEqual(t, GapID("node-a", first), GapID("node-a", &second))
	again := *first
	assert.Equal(t, GapID("node-a", first), GapID("node-a", &again))
	unknown := *first
	unknown.From = time.Time{}
	assert.NotEqual(t, GapID("node-a", first), GapID("node-a", &unknown))
}
