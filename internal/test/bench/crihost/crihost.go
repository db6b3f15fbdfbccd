// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

// Package crihost runs the synthetic CRI server of package crifake in a process of its own, so that a benchmark of a client
// measures the client only. The process is the test binary itself: its TestMain calls Served first.
//
// It promises that the process ends with the benchmark, or with the test binary in whatever way that ends: it serves until its standard
// input is closed. It takes no part in the measurement beyond answering on its socket.
package crihost

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/zastava-otel/zastava/internal/test/crifake"
	"github.com/zastava-otel/zastava/internal/test/socketdir"
)

// variable marks the process that serves; its value is its Options.
const variable = "ZASTAVA_TEST_CRI_HOST"

// Options of the server.
type Options struct {
	Path       string // of its socket; under 100 bytes
	Containers int    // that are running at the start
	PerPod     int
	Events     bool // GetContainerEvents works
}

// request is what a Host sends to its process; answer is the response.
type request struct {
	Steps int `json:"steps,omitempty"`
}

type answer struct {
	Transitions int            `json:"transitions,omitempty"`
	Calls       map[string]int `json:"calls,omitempty"`
	Dropped     int            `json:"dropped,omitempty"`
	Error       string         `json:"error,omitempty"`
}

// Served serves until standard input is closed if this process was started by Start, and reports whether it was.
func Served() bool {
	raw := os.Getenv(variable)
	if raw == "" {
		return false
	}
	if err := serve(raw, os.Stdin, json.NewEncoder(os.Stdout)); err != nil {
		fmt.Fprintln(os.Stderr, "serve CRI:", err)
		os.Exit(1)
	}
	return true
}

func serve(raw string, in io.Reader, out *json.Encoder) error {
	var o Options
	if err := json.Unmarshal([]byte(raw), &o); err != nil {
		return err
	}
	options := crifake.Options{}
	if o.Events {
		options.Name, options.Events = "cri-o", crifake.EventsOn
	}
	s, err := crifake.Start(o.Path, options)
	if err != nil {
		return err
	}
	defer s.Stop()
	s.Fill(o.Containers, o.PerPod)
	if err := out.Encode(answer{}); err != nil {
		return err
	}
	requests := json.NewDecoder(in)
	for {
		var r request
		if err := requests.Decode(&r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		a := answer{Calls: map[string]int{}}
		for range r.Steps {
			life, ok := s.Step()
			if !ok {
				break
			}
			if _, removed := s.Life(life.ID); removed {
				a.Transitions++ // an end
			} else {
				a.Transitions += 3 // its successor was created and started, and it was removed
			}
		}
		for _, method := range []string{"ListContainers", "StreamContainers", "ContainerStatus", "ListPodSandbox", "PodSandboxStatus"} {
			a.Calls[method] = s.Calls(method)
		}
		a.Dropped = s.Dropped()
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

// Host is a server in a process of its own.
type Host struct {
	tb      testing.TB
	path    string
	pid     int
	in      *json.Encoder
	out     *json.Decoder
	calls   map[string]int
	dropped int
}

// Start starts a server and ends it with the benchmark. If Options.Path is empty, it chooses one.
func Start(tb testing.TB, o Options) *Host {
	tb.Helper()
	if o.Path == "" {
		o.Path = filepath.Join(socketdir.New(tb), "c.sock")
	}
	raw, err := json.Marshal(o)
	if err != nil {
		tb.Fatalf("encode the options of the CRI server: %v", err)
	}
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), variable+"="+string(raw))
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		tb.Fatalf("start a CRI server: %v", err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		tb.Fatalf("start a CRI server: %v", err)
	}
	if err := command.Start(); err != nil {
		tb.Fatalf("start a CRI server: %v", err)
	}
	tb.Cleanup(func() { _ = in.Close(); _ = command.Wait() })
	h := &Host{tb: tb, path: o.Path, pid: command.Process.Pid, in: json.NewEncoder(in), out: json.NewDecoder(bufio.NewReader(out))}
	h.read()
	return h
}

// read reads one response and stores its counters.
func (h *Host) read() answer {
	h.tb.Helper()
	var a answer
	if err := h.out.Decode(&a); err != nil {
		h.tb.Fatalf("the CRI server does not answer: %v", err)
	}
	if a.Error != "" {
		h.tb.Fatalf("the CRI server: %s", a.Error)
	}
	h.calls, h.dropped = a.Calls, a.Dropped
	return a
}

// Endpoint returns the CRI endpoint.
func (h *Host) Endpoint() string { return "unix://" + h.path }

// PID returns the id of the server's process.
func (h *Host) PID() int { return h.pid }

// Step makes n random steps (crifake.Server.Step) and returns the number of transitions. Step(0) only updates the counters.
func (h *Host) Step(n int) int {
	h.tb.Helper()
	if err := h.in.Encode(request{Steps: n}); err != nil {
		h.tb.Fatalf("ask the CRI server for %d steps: %v", n, err)
	}
	return h.read().Transitions
}

// Calls returns how often a method had been called at the last Step.
func (h *Host) Calls(method string) int { return h.calls[method] }

// Dropped returns how many events the server had dropped at the last Step because subscribers read too slowly.
func (h *Host) Dropped() int { return h.dropped }
