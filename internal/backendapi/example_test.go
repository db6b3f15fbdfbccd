// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backendapi_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

func ExampleEventID() {
	started := time.Date(2026, 11, 22, 18, 6, 32, 123_456_789, time.UTC)
	fmt.Println(backendapi.EventID("containerd", "4f1a9c0d", backendapi.KindStop, started, 0))
	// The zone of the time does not matter.
	fmt.Println(backendapi.EventID("containerd", "4f1a9c0d", backendapi.KindStop, started.In(time.FixedZone("CET", 3600)), 0))
	// Output:
	// bc7e990a-2131-5d82-a270-4a8bd40a2b0e
	// bc7e990a-2131-5d82-a270-4a8bd40a2b0e
}

// A batch is posted in its canonical bytes, with its id as the idempotency key.
func ExampleBatch() {
	started := time.Date(2026, 11, 22, 18, 6, 32, 0, time.UTC)
	event := backendapi.Event{
		EventID: backendapi.EventID("containerd", "4f1a", backendapi.KindStart, started, 0),
		Kind:    backendapi.KindStart, When: started, Tenant: "acme", Node: "node-1",
		Runtime:     backendapi.Runtime{Engine: "containerd"},
		Workload:    &backendapi.Workload{ContainerID: "containerd://4f1a"},
		Observation: backendapi.Observation{Source: "stream"},
	}
	if err := event.Validate(); err != nil {
		fmt.Println(err)
	}
	batch := backendapi.Batch{Events: []backendapi.Envelope{{Event: event, SchemaVersion: backendapi.SchemaVersion}}}
	batch.BatchID = backendapi.BatchID(batch.Events)
	fmt.Println(strings.ReplaceAll(string(batch.AppendCanonical(nil)), `,"`, ",\n\""))
	// Output:
	// {"batchId":"8f73ef7e-d117-5228-8798-a4c2805c1aac",
	// "events":[{"event":{"eventId":"b0254a4b-3117-507f-ad09-685bbdcdb73f",
	// "kind":"CONTAINER_START",
	// "node":"node-1",
	// "observation":{"source":"stream"},
	// "revision":0,
	// "runtime":{"engine":"containerd"},
	// "tenant":"acme",
	// "when":"2026-11-22T18:06:32Z",
	// "workload":{"containerId":"containerd://4f1a"}},
	// "schemaVersion":"zastava.runtime.event@v1.0"}]}
}

// Validate reports all faults at once.
func ExampleEvent_Validate() {
	event := backendapi.Event{
		EventID: "7", Kind: backendapi.KindStart, When: time.Date(2026, 11, 22, 18, 6, 32, 0, time.UTC), Tenant: "acme", Node: "node-1",
		Runtime: backendapi.Runtime{Engine: "docker"}, Observation: backendapi.Observation{Source: "list"},
	}
	fmt.Println(event.Validate())
	// Output:
	// eventId must be a UUID
	// workload is required for CONTAINER_START
}

func ExampleSegment() {
	file := backendapi.Segment{
		Format: "elf", BuildID: backendapi.GNUBuildID(strings.Repeat("9f", 20)), SHA256: strings.Repeat("ab", 32),
		Path: "/usr/lib/libssl.so.3", Size: 689288, Name: "libssl.so.3",
	}
	fmt.Println(file.SymbolID())
	fmt.Println(file.CodeID())
	fmt.Println(file.Identity())
	// Output:
	// sym:binary:Q6Dpr2WY-DPsLeX9j1t7ZYhiP1CCAsvio2pzCNHpQgk
	// code:binary:Ujwc2xuX546fVSmwkQTcMXRpAtSF7ssA8qkALQwl3pc
	// file_hash
}

func ExampleFactReader_Read() {
	reader := backendapi.NewFactReader()
	fact, err := reader.Read([]byte(`{"symbolId":"sym:binary:x","hitCount":3}`), "line 1.")
	fmt.Println(fact.HitCount, err)
	_, err = reader.Read([]byte(`{"symbolId":"sym:binary:x","hitCount":1,"purl":null}`), "line 2.")
	fmt.Println(err)
	// Output:
	// 3 <nil>
	// line 2.purl must be a text
}
