// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package crifake is a synthetic CRI v1 server for tests and benchmarks: a real gRPC server on a real Unix socket, whose
// pods and containers exist in its memory only. It runs nothing.
//
// It stands in for what no test machine can have or do on demand: CRI-O and cri-dockerd, ten thousand containers, calls that
// hang, answers no sane runtime gives. What a real containerd does is tested with a real containerd.
//
// Everything random comes from the seed, so that a run can be repeated. Times come from Options.Now and never repeat.
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

// EventMode is how GetContainerEvents behaves.
type EventMode uint8

// The ways in which real runtimes behave.
const (
	EventsUnimplemented EventMode = iota // containerd 1.6, cri-dockerd
	EventsEnd                            // CRI-O without enable_pod_events: ends cleanly at once
	EventsOn                             // CRI-O with it, containerd from 1.7
)

// Options says what the server pretends to be. The zero value is a containerd without streams.
type Options struct {
	Name    string // what Version calls the runtime; default containerd
	Version string // default 2.4.2
	Seed    uint64

	StreamLists bool // StreamContainers works; else it is Unimplemented
	Batch       int  // containers per message of StreamContainers; default 500

	Events        EventMode
	KeepEvents    int  // this many events are kept while nobody subscribes, for whoever does first
	BareEvents    bool // events carry neither pod nor container statuses
	SandboxEvents bool // pods have events too, with the sandbox's id in the container's place

	NoKubeletLabels bool // containers have no io.kubernetes.* labels, as those that crictl makes
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

	mu         sync.Mutex
	random     *rand.Rand
	lastTime   int64
	pods       map[string]*pod
	podOrder   []string
	containers map[string]*entry
	order      []string
	raw        []*runtimeapi.Container // listed as they are, on top
	list       []byte                  // the encoded list; nil: it must be made again
	events     events
	faults     faults
}

// Start listens on a Unix socket at path, which must be shorter than 100 bytes, and serves until Stop. On Windows it serves a
// named pipe that is called after path.
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
		random: rand.New(rand.NewPCG(o.Seed, 0x2a5)), //nolint:gosec // repeatable on purpose
		pods:   map[string]*pod{}, containers: map[string]*entry{},
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

// Endpoint gives the CRI endpoint.
func (s *Server) Endpoint() string { return s.endpoint }

// Stop ends the server, all streams and all calls that hang.
func (s *Server) Stop() {
	close(s.stopped)
	s.server.Stop()
	<-s.served
}

// Version says what the options say.
func (s *Server) Version(context.Context, *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return &runtimeapi.VersionResponse{
		Version: "0.1.0", RuntimeName: s.options.Name, RuntimeVersion: s.options.Version, RuntimeApiVersion: "v1",
	}, nil
}

// now gives a time that was never given before. The caller holds mu.
func (s *Server) now() int64 {
	s.lastTime = max(s.options.Now().UnixNano(), s.lastTime+1)
	return s.lastTime
}

// id makes a container or sandbox id. The caller holds mu.
func (s *Server) id() string {
	return fmt.Sprintf("%016x%016x%016x%016x", s.random.Uint64(), s.random.Uint64(), s.random.Uint64(), s.random.Uint64())
}

var errUnknown = errors.New("no such container")
