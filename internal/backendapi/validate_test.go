// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backendapi

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/test/oracle"
)

func validEvent() Event {
	started := time.Date(2026, 11, 22, 18, 6, 32, 123_456_789, time.UTC)
	finished := started.Add(192 * time.Second)
	observed := finished.Add(27 * time.Millisecond)
	return Event{
		EventID: "5f6f3b1c-6d0a-5a57-9a40-0a6c7b8f2f11", When: finished, Kind: KindStop, Tenant: "acme", Project: "payments",
		Node: "ip-10-0-1-23", Runtime: Runtime{Engine: "containerd", Version: "2.4.2"},
		Workload: &Workload{
			Platform: PlatformKubernetes, Namespace: "payments", Pod: "api-7c9fbbd8b7-ktd84", PodUID: "0c1e6f5a-53a4-4e0f-9d9d-1c0c5a3f1e11",
			Container: "api", ContainerID: "containerd://4f1a9c0d", ImageRef: "ghcr.io/acme/api:1.8", ImageDigest: "sha256:ab",
			ImageID: "sha256:cd", Owner: &Owner{Kind: "ReplicaSet", Name: "api-7c9fbbd8b7"}, Labels: map[string]string{"app": "api"},
		},
		Run: &Run{
			StartedAt: &started, FinishedAt: &finished, RestartCount: new(uint32(3)), ExitCode: new(uint32(137)), Signal: "SIGKILL",
			Reason: "OOMKilled", OOMKilled: true,
		},
		Previous:    &Previous{ContainerID: "containerd://3e", ExitCode: new(uint32(1)), Reason: "Error", FinishedAt: &started},
		Process:     &Process{PID: 12345, Entrypoint: []string{"/entrypoint.sh", "--serve"}, Executable: "/usr/bin/python3.12"},
		LoadedLibs:  []LoadedLib{{Path: "/usr/lib/libssl.so.3", SHA256: strings.Repeat("ab", 32), Size: 689288}},
		Observation: Observation{Source: "stream", Precision: "exact", MissedRuns: new(uint32(0)), ObservedAt: &observed},
		Evidence:    []Evidence{{Signal: "cri.container.status", Value: "OOMKilled"}},
		Annotations: map[string]string{"deployment": "cluster-a"},
	}
}

func validGap() Event {
	ev := validEvent()
	ev.Kind, ev.Workload, ev.Run, ev.Process, ev.Previous = KindObserverGap, nil, nil, nil, nil
	ev.Gap = &Gap{Runtime: "main", From: ev.When.Add(-time.Minute), To: ev.When, Cause: "list_failed"}
	return ev
}

func TestValidateAcceptsValidEvents(t *testing.T) {
	ev := validEvent()
	require.NoError(t, ev.Validate())
	gap := validGap()
	require.NoError(t, gap.Validate())
}

func TestValidateNamesTheField(t *testing.T) {
	long := strings.Repeat("é", MaxName+1)
	veryLong := strings.Repeat("é", MaxText+1)
	for _, tt := range []struct {
		field  string
		damage func(*Event)
	}{
		{"eventId", func(e *Event) { e.EventID = "" }},
		{"eventId", func(e *Event) { e.EventID = "not-a-uuid" }},
		{"when", func(e *Event) { e.When = time.Time{} }},
		{"when", func(e *Event) { e.When = time.Unix(0, 0) }},
		{"kind", func(e *Event) { e.Kind = "CONTAINER_DANCE" }},
		{"tenant", func(e *Event) { e.Tenant = "" }},
		{"tenant", func(e *Event) { e.Tenant = "two words" }},
		{"tenant", func(e *Event) { e.Tenant = strings.Repeat("a", MaxTenant+1) }},
		{"project", func(e *Event) { e.Project = long }},
		{"node", func(e *Event) { e.Node = "" }},
		{"runtime.engine", func(e *Event) { e.Runtime.Engine = "" }},
		{"runtime.version", func(e *Event) { e.Runtime.Version = long }},
		{"annotations", func(e *Event) { e.Annotations = map[string]string{"k": veryLong} }},
		{"annotations", func(e *Event) { e.Annotations = map[string]string{"": "v"} }},
		{"observation.source", func(e *Event) { e.Observation.Source = "" }},
		{"observation.precision", func(e *Event) { e.Observation.Precision = "guess" }},
		{"observation.windowStart", func(e *Event) { e.Observation.WindowStart = &time.Time{} }},
		{"workload", func(e *Event) { e.Workload = nil }},
		{"workload.containerId", func(e *Event) { e.Workload.ContainerID = "4f1a" }},
		{"workload.pod", func(e *Event) { e.Workload.Pod = long }},
		{"workload.owner.kind", func(e *Event) { e.Workload.Owner = &Owner{Name: "api"} }},
		{"workload.labels", func(e *Event) { e.Workload.Labels = map[string]string{long: ""} }},
		{"run.startedAt", func(e *Event) { e.Run.StartedAt = &time.Time{} }},
		{"run.reason", func(e *Event) { e.Run.Reason = veryLong }},
		{"previous.finishedAt", func(e *Event) { e.Previous.FinishedAt = new(time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)) }},
		{"crashLoop.windowSeconds", func(e *Event) { e.CrashLoop = &CrashLoop{WindowSeconds: math.NaN()} }},
		{"gap", func(e *Event) { e.Kind = KindObserverGap }},
		{"gap.cause", func(e *Event) { e.Gap = &Gap{From: e.When, To: e.When} }},
		{"gap.folded", func(e *Event) { e.Gap = &Gap{From: e.When, To: e.When, Cause: "c", Folded: 1 << 53} }},
		{"process.entrypoint[1]", func(e *Event) { e.Process.Entrypoint[1] = strings.Repeat("a", MaxArgument+1) }},
		{"loadedLibs[0].sha256", func(e *Event) { e.LoadedLibs[0].SHA256 = "AB" }},
		{"loadedLibs[0].path", func(e *Event) { e.LoadedLibs[0].Path = "" }},
		{"evidence[0].signal", func(e *Event) { e.Evidence[0].Signal = "" }},
	} {
		t.Run(tt.field, func(t *testing.T) {
			ev := validEvent()
			tt.damage(&ev)
			err := ev.Validate()
			require.Error(t, err)
			var fault *FieldError
			require.ErrorAs(t, err, &fault)
			assert.Equal(t, tt.field, fault.Field)
		})
	}
}

func TestValidateReturnsAllFaults(t *testing.T) {
	err := (&Event{}).Validate()
	joined, ok := err.(interface{ Unwrap() []error })
	require.True(t, ok)
	var fields []string
	for _, e := range joined.Unwrap() {
		var fault *FieldError
		require.ErrorAs(t, e, &fault)
		fields = append(fields, fault.Field)
	}
	assert.Equal(t, []string{"eventId", "when", "kind", "tenant", "node", "runtime.engine", "observation.source", "workload"}, fields)
}

func TestParseProblemReturnsTextOrFalse(t *testing.T) {
	for _, tt := range []struct {
		desc, contentType, body, want string
	}{
		{
			"problem with fields", "application/problem+json; charset=utf-8",
			`{"type":"about:blank","title":"The batch is not valid","status":422,"detail":"see fields","errors":[{"field":"events[0].event.kind","detail":"is required"}]}`,
			"The batch is not valid; see fields; events[0].event.kind is required",
		},
		{"title only", "application/problem+json", `{"title":"Too fast"}`, "Too fast"},
		{"other type", "application/json", `{"title":"Too fast"}`, ""},
		{"no type", "", `{"title":"Too fast"}`, ""},
		{"not JSON", "application/problem+json", `<html>`, ""},
		{"no text", "application/problem+json", `{}`, ""},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			p, ok := ParseProblem(tt.contentType, []byte(tt.body))
			assert.Equal(t, tt.want != "", ok)
			if ok {
				assert.Equal(t, tt.want, p.String())
			}
		})
	}
}

func FuzzParseProblem(f *testing.F) {
	f.Add("application/problem+json", []byte(`{"title":"t","errors":[{}]}`))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		oracle.Bound(t, oracle.Parsing(len(contentType)+len(body)))
		if p, ok := ParseProblem(contentType, body); ok {
			_ = p.String()
		}
	})
}
