// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/zastava-otel/zastava/exporter/zastavabackendexporter/internal/delivery"
	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/record"
)

var finished = time.Date(2026, 11, 22, 18, 9, 44, 123_456_789, time.UTC)

// stopOf returns the stop of container i.
func stopOf(i int) container.Transition {
	hex := func(what string, i int) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(what+strconv.Itoa(i)))) }
	digest := "sha256:" + hex("image", i%17)
	uid := hex("pod", i)
	return container.Transition{
		Kind: container.KindStopped, When: finished, State: container.StateExited, RestartCount: 3,
		Container: &container.Container{
			Engine: "containerd", Runtime: "main", Version: "2.4.2", ID: hex("container", i), Name: "api",
			CreatedAt: finished.Add(-193 * time.Second), Attempt: 3,
			Pod: container.Pod{
				SandboxID: "5b", Namespace: "payments", Name: "api-7c9fbbd8b7-" + uid[:5],
				UID: uid[:8] + "-" + uid[8:12] + "-4" + uid[13:16] + "-9" + uid[17:20] + "-" + uid[20:32],
			},
			Image: container.Image{
				Reference: "ghcr.io/acme/api:1.8", ID: digest, RepoDigests: []string{"ghcr.io/acme/api@" + digest}, ManifestDigest: digest,
			},
			Labels: map[string]string{"app": "api"},
		},
		Run: container.Run{
			StartedAt: finished.Add(-192*time.Second + time.Duration(i)), FinishedAt: finished, ExitCode: 137, ExitKnown: true,
			Reason: "OOMKilled", OOMKilled: true, PID: 12345,
		},
		Provenance: container.Provenance{Source: container.SourceStream, ObservedAt: finished.Add(27 * time.Millisecond)},
	}
}

func encoder() *record.Encoder {
	return &record.Encoder{
		HostName: "ip-10-0-1-23", HostID: "8f1c2a4e5d6b47c38f1c2a4e5d6b47c3", NodeName: "node-a",
		Scope: "github.com/zastava-otel/zastava/receiver/criobserverreceiver", ScopeVersion: "0.1.0", OS: "linux",
	}
}

// stops returns the records of the stops of n containers.
func stops(n int) plog.Logs {
	batch := encoder().NewBatch()
	for i := range n {
		tr := stopOf(i)
		batch.Append(&tr)
	}
	return batch.Logs()
}

// stopIDs returns the event ids of stops(n).
func stopIDs(n int) []string {
	out := make([]string, n)
	for i := range out {
		tr := stopOf(i)
		out[i] = record.EventID(&tr)
	}
	return out
}

// part returns the records from..to of stops.
func part(logs plog.Logs, from, to int) plog.Logs {
	return delivery.Select(logs, func(yield func(delivery.Position) bool) {
		for i := from; i < to && yield(delivery.Position{Resource: i}); i++ {
		}
	})
}
