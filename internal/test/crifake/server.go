// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package crifake is a synthetic CRI v1 server for tests and benchmarks: a real gRPC server on a real Unix socket, whose pods and
// containers exist only in its memory. It runs nothing.
//
// It does what no test machine can do on demand: it behaves like CRI-O or cri-dockerd, has ten thousand containers, hangs, and sends
// answers that no correct runtime sends. The tests of containerd's behavior use a real containerd.
//
// Everything random follows from the seed, so that a run can be repeated. Times come from Options.Now and never repeat.
package crifake

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// EventMode is the behavior of GetContainerEvents.
type EventMode uint8

// The behaviors of real runtimes.
const (
	EventsUnimplemented EventMode = iota // containerd 1.6, cri-dockerd
	EventsEnd                            // CRI-O without enable_pod_events: ends cleanly at once
	EventsOn                             // CRI-O with enable_pod_events, containerd from 1.7
)

// Options is the runtime that the server imitates. The zero value is a containerd without streams.
type Options struct {
	Name    string // the runtime's name in the answer to Version; default containerd
	Version string // default 2.4.2
	Seed    uint64

	StreamLists bool // StreamContainers works; else it answers Unimplemented
	Batch       int  // containers per message of StreamContainers; default 500

	Events        EventMode
	KeepEvents    int  // so many events are kept while there is no subscriber, for the first one
	BareEvents    bool // events have neither pod nor container statuses
	SandboxEvents bool // pods have events too, with the sandbox's id as container id

	NoKubeletLabels bool // containers have no io.kubernetes.* labels, like those that crictl creates
	Now             func() time.Time
}

// Server is the synthetic runtime. Its methods may be called from several goroutines.
type Server struct {
	runtimeapi.UnimplementedRuntimeServiceServer

	options  Options
	endpoint string
	server   *grpc.Server
	served   chan struct{}
	stopped  chan struct{}

	mu       sync.Mutex // guards what follows
	random   *rand.Rand
	lastTime int64
	inventory
	events events
	faults faults
}

// inventory is what exists.
type inventory struct {
	pods       map[string]*pod
	podOrder   []string // their ids, in the order of creation
	containers map[string]*entry
	order      []string                // their ids, in the order of creation
	raw        []*runtimeapi.Container // listed after the containers, unchanged
	list       []byte                  // the encoded list, nil after a change
}

// Start listens on a Unix socket at path, which must be shorter than 100 bytes, and serves until Stop. On Windows it serves a
// named pipe with a name derived from path.
func Start(path string, o Options) (*Server, error) {
	if o.Name == "" {
		o.Name = "containerd"
	}
	if o.Version == "" {
		o.Version = "2.4.2"
	}
	if o.Batch <= 0 {
		o.Batch = 500
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{
		options: o, served: make(chan struct{}), stopped: make(chan struct{}),
		random:    rand.New(rand.NewPCG(o.Seed, 0x2a5)),
		inventory: inventory{pods: map[string]*pod{}, containers: map[string]*entry{}},
	}
	listener, endpoint, err := listen(path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	s.endpoint = endpoint
	s.server = grpc.NewServer(
		grpc.MaxSendMsgSize(1<<30),
		grpc.UnaryInterceptor(s.interceptUnary), grpc.StreamInterceptor(s.interceptStream),
	)
	runtimeapi.RegisterRuntimeServiceServer(s.server, s)
	go func() {
		defer close(s.served)
		_ = s.server.Serve(listener) // ends with Stop
	}()
	return s, nil
}

// Endpoint returns the address in the form in which runtimes are configured.
func (s *Server) Endpoint() string { return s.endpoint }

// Stop ends the server, all streams and all hanging calls.
func (s *Server) Stop() {
	close(s.stopped)
	s.server.Stop()
	<-s.served
}

// Version answers from the options.
func (s *Server) Version(context.Context, *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return &runtimeapi.VersionResponse{
		Version: "0.1.0", RuntimeName: s.options.Name, RuntimeVersion: s.options.Version, RuntimeApiVersion: "v1",
	}, nil
}

// now returns the time in nanoseconds, and more than it ever returned before. The caller holds mu.
func (s *Server) now() int64 {
	s.lastTime = max(s.options.Now().UnixNano(), s.lastTime+1)
	return s.lastTime
}

// id returns a new container or sandbox id. The caller holds mu.
func (s *Server) id() string {
	return fmt.Sprintf("%016x%016x%016x%016x", s.random.Uint64(), s.random.Uint64(), s.random.Uint64(), s.random.Uint64())
}

var errUnknown = errors.New("no such container")
