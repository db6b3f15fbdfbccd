// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"time"

	"github.com/zastava-otel/zastava/internal/container"
)

// The times of the sample container's lifecycle.
var (
	created  = time.Date(2026, 11, 22, 18, 6, 31, 900_000_000, time.UTC)
	started  = time.Date(2026, 11, 22, 18, 6, 32, 123_456_789, time.UTC)
	finished = time.Date(2026, 11, 22, 18, 9, 44, 123_456_789, time.UTC)
	observed = time.Date(2026, 11, 22, 18, 9, 44, 151_000_000, time.UTC)
)

func sampleEncoder() *Encoder {
	return &Encoder{
		HostName:     "ip-10-0-1-23",
		HostID:       "8f1c2a4e5d6b47c38f1c2a4e5d6b47c3",
		NodeName:     "node-a",
		Scope:        "github.com/zastava-otel/zastava/receiver/criobserverreceiver",
		ScopeVersion: "0.1.0",
		OS:           "linux",
	}
}

func sampleContainer() *container.Container {
	return &container.Container{
		Engine: "containerd", Runtime: "main", Version: "2.4.2",
		ID:        "4f1a9c0d2b3e4f5061728394a5b6c7d8e9f00112233445566778899aabbccdde",
		Name:      "api",
		CreatedAt: created,
		Attempt:   3,
		Pod:       container.Pod{SandboxID: "5b", Namespace: "payments", Name: "api-7c9fbbd8b7-ktd84", UID: "0c1e6f5a-53a4-4e0f-9d9d-1c0c5a3f1e11"},
		Image: container.Image{
			Reference:      "ghcr.io/acme/api:1.8",
			ID:             "sha256:cd00000000000000000000000000000000000000000000000000000000000001",
			RepoDigests:    []string{"ghcr.io/acme/api@sha256:ab00000000000000000000000000000000000000000000000000000000000002"},
			ManifestDigest: "sha256:ab00000000000000000000000000000000000000000000000000000000000002",
		},
		Labels:      map[string]string{"app": "api", "tier": "backend"},
		Annotations: map[string]string{"team": "payments"},
	}
}

// sampleTransitions returns one transition of every kind, in the order of container.Kind.
func sampleTransitions() []container.Transition {
	c := sampleContainer()
	running := container.Run{StartedAt: started, PID: 12345}
	ended := container.Run{
		StartedAt: started, FinishedAt: finished, ExitCode: 137, ExitKnown: true, Reason: "OOMKilled", OOMKilled: true, PID: 12345,
	}
	exact := container.Provenance{Source: container.SourceStream, ObservedAt: observed}
	loop := &container.CrashLoop{Count: 3, Window: 10 * time.Minute, ExitCode: 1, Reason: "Error"}
	return []container.Transition{
		{
			Kind: container.KindCreated, When: created, Container: c, State: container.StateCreated, RestartCount: 3,
			Provenance: container.Provenance{Source: container.SourceList, ObservedAt: observed},
		},
		{
			Kind: container.KindStarted, When: started, Container: c, State: container.StateRunning, Run: running, RestartCount: 3,
			Provenance: container.Provenance{Source: container.SourceInventory, ObservedAt: observed},
		},
		{
			Kind: container.KindRestarted, When: started, Container: c, State: container.StateRunning, Run: running, RestartCount: 3,
			Previous: &container.PreviousRun{
				ContainerID: "3e00000000000000000000000000000000000000000000000000000000000003",
				FinishedAt:  created, ExitCode: 1, ExitKnown: true, Reason: "Error",
			},
			Provenance: container.Provenance{Source: container.SourceStream, ObservedAt: observed, MissedRuns: 2},
		},
		{
			Kind: container.KindStopped, Revision: 1, When: finished, Container: c, State: container.StateExited, Run: ended,
			RestartCount: 3, Provenance: exact,
		},
		{
			Kind: container.KindPaused, When: finished, Container: c, State: container.StatePaused, Run: running, RestartCount: 3,
			Provenance: exact,
		},
		{
			Kind: container.KindUnpaused, Ordinal: 1, When: finished, Container: c, State: container.StateRunning, Run: running,
			RestartCount: 3, Provenance: exact,
		},
		{
			Kind: container.KindRemoved, When: finished, Container: c, State: container.StateUnknown, RestartCount: 3,
			Provenance: container.Provenance{
				Source: container.SourceCheckpoint, Precision: container.PrecisionWindow, WindowStart: started, ObservedAt: observed,
				MissedUnknown: true,
			},
		},
		{
			Kind: container.KindOOM, When: finished, Container: c, State: container.StateRunning, Run: running, RestartCount: 3,
			Provenance: exact,
		},
		{
			Kind: container.KindHealthChanged, When: finished, Container: c, State: container.StateRunning, Run: running,
			RestartCount: 3, Provenance: exact, Health: "unhealthy",
		},
		{
			Kind: container.KindCrashLoop, When: finished, Container: c, State: container.StateExited, Run: ended, RestartCount: 3,
			CrashLoop: loop, Provenance: exact,
		},
		{
			Kind: container.KindCrashLoopEnded, When: finished, Container: c, State: container.StateRunning, Run: running,
			RestartCount: 3, CrashLoop: loop, Provenance: exact,
		},
	}
}

func sampleGap() *container.Gap {
	return &container.Gap{
		Engine: "containerd", Runtime: "main", Version: "2.4.2", From: started, To: finished,
		Cause: container.CauseListFailed, Coalesced: 4,
	}
}
