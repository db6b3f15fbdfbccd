// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/limit"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// bounds limit what one answer of an engine may cost, because the client decodes whatever it receives. A container has 1 to 4 kB in a
// list, up to 100 kB in an inspection, and a few hundred values.
type bounds struct {
	bytes      int64 // read of one answer, or of one message of the event stream
	object     int64 // bytes of one object (a container, an image, an event), after long strings were cut
	containers int   // in a list
	rate       rate  // of the event stream
}

// A user's engine is bounded so that even all its answers at once need little memory; root's so that no real host reaches the bounds.
var (
	rootBounds = bounds{bytes: 64 << 20, object: 4 << 20, containers: 20_000, rate: rate{messages: 1_000, bytes: 8 << 20}}
	userBounds = bounds{bytes: 8 << 20, object: 512 << 10, containers: 1_000, rate: rate{messages: 100, bytes: 256 << 10}}
)

// Bounds of every object, whoever owns the engine.
const (
	maxNesting = 64
	maxItems   = 65_536 // members and elements
	maxDigits  = 32     // characters of a number; an integer of 64 bits has 20
	maxString  = 2 * runtime.MaxText
	// maxHeader bounds the header of an answer, in bytes.
	maxHeader = 64 << 10
)

// The kinds of limit that are Docker's own.
const (
	kindContainers limit.Kind = "containers"
	kindMessages   limit.Kind = "messages a second"
	kindFlow       limit.Kind = "bytes a second"
)

// keepsLabel reports whether a label of a list is of use.
func (r *Runtime) keepsLabel(key string) bool { return readLabels[key] || r.labels.Allows(key) }

// readLabels are the labels that are read whether or not they are reported.
var readLabels = map[string]bool{
	labelProject: true, labelService: true, labelNumber: true, labelOneOff: true, labelServiceID: true, labelServiceName: true, labelTaskID: true,
	labelPodName: true, labelPodNamespace: true, labelPodUID: true, labelContainerName: true, labelDockerType: true, labelSandbox: true,
	attributeExitCode: true, attributeSignal: true,
}

// bounded replaces the body of a response by one that keeps the bounds. The event stream fails at the message that exceeds them.
func (r *Runtime) bounded(response *http.Response) {
	b := r.bounds
	call := response.Request.Method + " " + callOf(response.Request.URL.Path)
	ok := response.StatusCode >= http.StatusOK && response.StatusCode < http.StatusBadRequest
	scan := &scanner{from: response.Body, bounds: b}
	body := boundedBody{Reader: scan, Closer: response.Body, call: call}
	switch {
	case ok && strings.HasSuffix(call, "/events"):
		flow := &flow{rate: b.rate, began: time.Now()}
		scan.ended = flow.message
	case ok && strings.HasSuffix(call, "/containers/json"):
		scan.within = 1
		body.Reader = newListReader(scan, b.containers, r.keepsLabel)
	}
	response.Body = body
}

// callOf returns the path of a call without the API's version and without ids.
func callOf(url string) string {
	parts := strings.Split(strings.Trim(url, "/"), "/")
	if len(parts) > 1 && strings.HasPrefix(parts[0], "v1.") {
		parts = parts[1:]
	}
	if len(parts) == 3 {
		parts[1] = "{id}"
	}
	return runtime.Clip(path.Join("/", path.Join(parts...)), 64)
}

// boundedBody names the call in the error of an exceeded limit.
type boundedBody struct {
	io.Reader
	io.Closer
	call string
}

func (b boundedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if exceeded, ok := errors.AsType[*limit.Error](err); ok {
		err = fmt.Errorf("the answer to %s exceeds a limit: %w", b.call, exceeded)
	}
	return n, err
}

// rate bounds what a stream may send for long, in units per second. It may send ten seconds' worth at once: an engine replays 256
// events, and hundreds of containers may end together.
type rate struct{ messages, bytes int64 }

const burst = 10 * time.Second

// flow measures the rate of a stream.
type flow struct {
	rate     rate
	began    time.Time
	messages int64
	bytes    int64
}

func (f *flow) message(bytes int64) error {
	f.messages++
	f.bytes += bytes
	allowed := (time.Since(f.began) + burst).Seconds()
	switch {
	case float64(f.messages) > allowed*float64(f.rate.messages):
		return &limit.Error{Kind: kindMessages, Max: f.rate.messages}
	case float64(f.bytes) > allowed*float64(f.rate.bytes):
		return &limit.Error{Kind: kindFlow, Max: f.rate.bytes}
	}
	if at := f.began.Add(burst); time.Since(at) > 0 { // what was not used is not saved up for longer than a burst
		f.began, f.messages, f.bytes = at, max(0, f.messages-f.rate.messages*int64(burst/time.Second)), max(0, f.bytes-f.rate.bytes*int64(burst/time.Second))
	}
	return nil
}
