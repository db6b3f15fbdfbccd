// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

func TestLineShowsEachKind(t *testing.T) {
	at := time.Date(2026, 11, 22, 18, 9, 44, 123e6, time.Local)
	ptr := func(n uint32) *uint32 { return &n }
	when := func(d time.Duration) *time.Time { at := at.Add(d); return &at }
	api := &backendapi.Workload{Namespace: "shop", Pod: "checkout", Container: "api", ContainerID: "containerd://4f1a", ImageRef: "zastava.local/probe:1"}
	tests := map[string]struct {
		event backendapi.Event
		want  string
	}{
		"started": {
			backendapi.Event{Kind: backendapi.KindStart, Workload: api},
			"18:09:44.123  started     shop/checkout/api                   zastava.local/probe:1",
		},
		"running before the observer was": {
			backendapi.Event{Kind: backendapi.KindStart, Workload: api, Observation: backendapi.Observation{Source: "inventory"}},
			"18:09:44.123  started     shop/checkout/api                   zastava.local/probe:1, was running already",
		},
		"restarted": {
			backendapi.Event{Kind: backendapi.KindRestart, Workload: api, Run: &backendapi.Run{RestartCount: ptr(3)}, Previous: &backendapi.Previous{ExitCode: ptr(1), Reason: "Error"}},
			"18:09:44.123  restarted   shop/checkout/api                   restart 3, after exit 1 Error",
		},
		"out of memory": {
			backendapi.Event{Kind: backendapi.KindStop, Workload: api, Run: &backendapi.Run{StartedAt: when(-192 * time.Second), FinishedAt: when(0), ExitCode: ptr(137), Reason: "OOMKilled", OOMKilled: true}},
			"18:09:44.123  stopped     shop/checkout/api                   exit 137, OOMKilled, ran 3m12s",
		},
		"ended before its start by the runtime's clock": {
			backendapi.Event{Kind: backendapi.KindStop, Workload: api, Run: &backendapi.Run{StartedAt: when(0), FinishedAt: when(-time.Millisecond), ExitCode: ptr(0), Reason: "Completed"}},
			"18:09:44.123  stopped     shop/checkout/api                   exit 0, Completed",
		},
		"never started": {
			backendapi.Event{Kind: backendapi.KindStop, Workload: api, Run: &backendapi.Run{ExitCode: ptr(128), Reason: "StartError"}},
			"18:09:44.123  stopped     shop/checkout/api                   exit 128, StartError, never started",
		},
		"nobody knows how": {
			backendapi.Event{Kind: backendapi.KindStop, Workload: api, Revision: 1},
			"18:09:44.123  stopped     shop/checkout/api                   exit unknown, now known better",
		},
		"removed": {
			backendapi.Event{Kind: backendapi.KindRemove, Workload: api},
			"18:09:44.123  removed     shop/checkout/api",
		},
		"only an id": {
			backendapi.Event{Kind: backendapi.KindRemove, Workload: &backendapi.Workload{ContainerID: "docker://0123456789abcdef"}},
			"18:09:44.123  removed     0123456789ab",
		},
		"crash loop": {
			backendapi.Event{Kind: backendapi.KindCrashLoop, Workload: api, CrashLoop: &backendapi.CrashLoop{Count: 3, Reason: "Error"}},
			"18:09:44.123  crash loop  shop/checkout/api                   3 failures, Error",
		},
		"gap": {
			backendapi.Event{Kind: backendapi.KindObserverGap, Gap: &backendapi.Gap{From: at, To: at.Add(2 * time.Second), Cause: "the runtime did not answer"}},
			"18:09:44.123  gap                                             could not see for 2s, the runtime did not answer",
		},
		"a kind of later": {
			backendapi.Event{Kind: "CONTAINER_MOVED", Workload: api},
			"18:09:44.123  CONTAINER_MOVED  shop/checkout/api",
		},
		"terminal codes in a name": {
			backendapi.Event{Kind: backendapi.KindRemove, Workload: &backendapi.Workload{Container: "a\x1b[2Jb\nc\u202e\x9b"}},
			"18:09:44.123  removed     a?[2Jb?c??",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.event.When = at
			assert.Equal(t, tt.want, Line(&tt.event, false))
			plain := strings.NewReplacer("\x1b[32m", "", "\x1b[33m", "", "\x1b[31m", "", "\x1b[36m", "", "\x1b[90m", "", "\x1b[0m", "").Replace(Line(&tt.event, true))
			assert.Equal(t, tt.want, plain, "color changes nothing else")
		})
	}
}
