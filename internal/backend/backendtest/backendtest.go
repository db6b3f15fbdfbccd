// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package backendtest makes valid events of a container's life for the tests of the reference backend.
package backendtest

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/zastava-otel/zastava/internal/backend/store"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

// Tenant is the tenant of all events that this package makes.
const Tenant = "acme"

// Start is the moment at which the containers of tests are created.
var Start = time.Date(2026, 11, 22, 18, 0, 0, 123456789, time.UTC)

// Life makes events of one container. Times are given as seconds after its creation.
type Life struct {
	ID        string // bare
	Name      string // of the container; also names its pod
	Namespace string
	Created   time.Time
}

// NewLife returns the n-th container of tests.
func NewLife(n int) Life {
	return Life{ID: fmt.Sprintf("%064x", n+1), Name: fmt.Sprintf("c%d", n), Namespace: "payments", Created: Start}
}

// At returns the moment some seconds after the creation.
func (l Life) At(seconds float64) time.Time {
	return l.Created.Add(time.Duration(seconds * float64(time.Second)))
}

// Event returns an event, without a run, that happened some seconds after the creation.
func (l Life) Event(kind backendapi.Kind, seconds float64) backendapi.Event {
	when := l.At(seconds)
	return backendapi.Event{
		EventID: backendapi.EventID("containerd", l.ID, kind, when, 0),
		When:    when, Kind: kind, Tenant: Tenant, Node: "node-1",
		Runtime: backendapi.Runtime{Engine: "containerd", Version: "1.6.20"},
		Workload: &backendapi.Workload{
			Platform: "kubernetes", Namespace: l.Namespace, Pod: l.Name + "-pod", PodUID: l.Name + "-uid", Container: l.Name,
			ContainerID: "containerd://" + l.ID, ImageRef: "registry.test/acme/" + l.Name + ":1.8",
		},
		Observation: backendapi.Observation{Source: "list", Precision: "exact", ObservedAt: new(when.Add(20 * time.Millisecond))},
	}
}

// InRun returns an event of the run that began at a second.
func (l Life) InRun(kind backendapi.Kind, seconds, began float64) backendapi.Event {
	e := l.Event(kind, seconds)
	e.EventID = backendapi.EventID("containerd", l.ID, kind, l.At(began), 0)
	e.Run = &backendapi.Run{StartedAt: new(l.At(began))}
	return e
}

// Started returns the start of a run.
func (l Life) Started(seconds float64) backendapi.Event {
	return l.InRun(backendapi.KindStart, seconds, seconds)
}

// Stopped returns the end of the run that began at a second.
func (l Life) Stopped(seconds, began float64, exitCode uint32, reason string) backendapi.Event {
	e := l.InRun(backendapi.KindStop, seconds, began)
	e.Run.FinishedAt, e.Run.ExitCode, e.Run.Reason = new(e.When), new(exitCode), reason
	e.Run.OOMKilled = reason == "OOMKilled"
	return e
}

// Batch returns the batch of events, as it is posted.
func Batch(events ...backendapi.Event) backendapi.Batch {
	b := backendapi.Batch{Events: make([]backendapi.Envelope, len(events))}
	for i, e := range events {
		b.Events[i] = backendapi.Envelope{SchemaVersion: backendapi.SchemaVersion, Event: e}
	}
	b.BatchID = backendapi.BatchID(b.Events)
	return b
}

// RandomBatchID replaces the id of a batch, so that the backend treats the same events as another batch.
func RandomBatchID(b backendapi.Batch) backendapi.Batch {
	b.BatchID = uuid.NewString()
	return b
}

// Records returns events in the form that the store ingests.
func Records(events ...backendapi.Event) []store.Record {
	out := make([]store.Record, len(events))
	for i, e := range events {
		body, err := json.Marshal(e)
		if err != nil {
			panic(fmt.Sprintf("encode a test event: %v", err)) // only a broken wire type can cause it
		}
		out[i] = store.Record{Event: e, Body: body}
	}
	return out
}
