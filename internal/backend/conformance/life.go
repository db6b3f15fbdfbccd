// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"time"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// life makes the events of one invented container.
type life struct {
	s       *session
	id      string // bare
	name    string
	created time.Time
}

// life returns a new container. Each is a second older than the one made before it.
func (s *session) life() life {
	n := s.lives.Add(1)
	return life{s, randomHex(32), fmt.Sprintf("c%d", n), s.began.Add(-time.Duration(n) * time.Second)}
}

func (l life) uri() string        { return "containerd://" + l.id }
func (l life) started() time.Time { return l.created.Add(100 * time.Millisecond) }
func (l life) stopped() time.Time { return l.created.Add(200 * time.Millisecond) }

// event returns an event with the fields that every event has.
func (l life) event(kind backendapi.Kind, when, key time.Time) backendapi.Event {
	return backendapi.Event{
		EventID: backendapi.EventID("containerd", l.id, kind, key, 0), Kind: kind, When: when,
		Tenant: l.s.o.Tenant, Node: "conformance-" + l.s.run, Runtime: backendapi.Runtime{Engine: "containerd", Version: "2.4.2"},
		Workload: &backendapi.Workload{
			Platform: backendapi.PlatformKubernetes, Namespace: l.s.namespace(), Pod: l.name + "-pod", PodUID: l.name + "-" + l.s.run,
			Container: l.name, ContainerID: l.uri(), ImageRef: "registry.invalid/conformance/" + l.s.run + ":1",
		},
		Observation: backendapi.Observation{Source: "list", Precision: "exact", ObservedAt: new(when.Add(time.Millisecond))},
	}
}

func (s *session) namespace() string { return "conformance-" + s.run }

func (l life) start() backendapi.Event {
	e := l.event(backendapi.KindStart, l.started(), l.started())
	e.Run = &backendapi.Run{StartedAt: new(l.started())}
	return e
}

func (l life) stop() backendapi.Event {
	e := l.event(backendapi.KindStop, l.stopped(), l.started())
	e.Run = &backendapi.Run{
		StartedAt: new(l.started()), FinishedAt: new(l.stopped()), ExitCode: new(uint32(137)), Signal: "SIGKILL", Reason: "OOMKilled", OOMKilled: true,
	}
	return e
}

// ofKind returns an event of any kind.
func (l life) ofKind(kind backendapi.Kind) backendapi.Event {
	e := l.event(kind, l.stopped(), l.started())
	switch kind {
	case backendapi.KindStop:
		return l.stop()
	case backendapi.KindCreate:
		return l.event(kind, l.created, l.created)
	case backendapi.KindRemove:
		return l.event(kind, l.stopped().Add(time.Millisecond), l.created)
	case backendapi.KindObserverGap:
		e.Workload, e.Gap = nil, &backendapi.Gap{Cause: "list_failed", From: l.started(), To: l.stopped(), Runtime: "conformance"}
		return e
	case backendapi.KindCrashLoop, backendapi.KindCrashLoopEnd:
		e.CrashLoop = &backendapi.CrashLoop{Count: 3, ExitCode: new(uint32(1)), Reason: "Error", WindowSeconds: 600}
	default: // has no fields of its own
	}
	e.Run = &backendapi.Run{StartedAt: new(l.started())}
	return e
}

// full returns the stop of a container with every field of the API.
func (l life) full() backendapi.Event {
	e := l.stop()
	e.Project, e.Annotations = "conformance", map[string]string{"environment": "test", "empty": ""}
	e.Workload.ImageDigest, e.Workload.ImageID = "sha256:"+l.id, "sha256:"+l.id
	e.Workload.Owner, e.Workload.Labels = &backendapi.Owner{Kind: "ReplicaSet", Name: l.name}, map[string]string{"app": "ü\"\\\u2028"}
	e.Run.RestartCount = new(uint32(4294967295))
	e.Previous = &backendapi.Previous{ContainerID: "containerd://before", ExitCode: new(uint32(1)), Reason: "Error", FinishedAt: new(l.created)}
	e.Process = &backendapi.Process{PID: 4242, Entrypoint: []string{"/bin/sh", "-c", ""}, Executable: "/bin/busybox", BuildID: "gnu-build-id:9f3a1cd4"}
	e.LoadedLibs = []backendapi.LoadedLib{{Path: "/lib/x.so", SHA256: l.id, BuildID: "gnu-build-id:9f3a1cd4", Size: 1<<53 - 1}}
	e.Evidence = []backendapi.Evidence{{Signal: "cri.container.status", Value: "OOMKilled"}}
	e.Observation = backendapi.Observation{
		Source: "checkpoint", Precision: "window", WindowStart: new(l.started()), ObservedAt: new(l.stopped()), MissedRuns: new(uint32(0)),
	}
	return e
}

func batch(events ...backendapi.Event) *backendapi.Batch {
	b := &backendapi.Batch{Events: make([]backendapi.Envelope, len(events))}
	for i := range events {
		b.Events[i] = backendapi.Envelope{Event: events[i], SchemaVersion: backendapi.SchemaVersion}
	}
	b.BatchID = backendapi.BatchID(b.Events)
	return b
}
