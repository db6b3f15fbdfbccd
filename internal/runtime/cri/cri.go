// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package cri observes a container runtime through the Kubernetes Container Runtime Interface, version v1: containerd,
// CRI-O, cri-dockerd or any other CRI server, over a Unix socket or a Windows named pipe.
//
// It promises: read-only calls; a deadline on every unary call; a list that is complete or an error; times that the runtime
// reported or the zero time, never 1970; exit codes as unsigned 32 bits; only labels and annotations that the allow-lists
// name; strings of bounded length. It keeps nothing of a container's environment: the only verbose call (PID) reads the
// process id from the response and drops the rest.
//
// A list is read without decoding it, which costs a fraction (see BenchmarkList): only id, state, creation time and attempt
// of each container are read, and the rest stays encoded until Describe needs it.
package cri

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/runtime/socket"
)

// DefaultTimeout is the deadline of a unary call if Options sets none. A list of 10,000 containers takes well under a second,
// but containerd needed several seconds under heavy load.
const DefaultTimeout = 10 * time.Second

// Options selects the runtime to observe and the labels and annotations to keep.
type Options struct {
	// Name is the configured name of the runtime; it becomes container.Container.Runtime.
	Name string
	// Endpoint is unix:///path, a bare absolute path, or npipe:////./pipe/name on Windows.
	Endpoint string
	// Owner is the uid of the user whose runtime it is. Nil for root, and for the user of this process.
	Owner *uint32
	// Timeout is the deadline of each unary call. 0 = DefaultTimeout.
	Timeout time.Duration
	// Labels and Annotations are glob patterns of the keys to keep; "*" matches any sequence of characters. If empty, none
	// are kept.
	Labels      []string
	Annotations []string
	// SetAside receives the number of entries of an answer that are not observed because their ids are not valid. Nil: not counted.
	SetAside func(n int)
}

// Runtime is a CRI runtime. It implements runtime.Runtime, runtime.Finder and runtime.PIDReader. It has no event stream: see
// WithEvents, and package containerd.
type Runtime struct {
	name        string
	endpoint    runtime.Endpoint
	timeout     time.Duration
	labels      runtime.AllowList
	annotations runtime.AllowList

	socket   *socket.Dialer // nil for a pipe
	bounds   *bounds
	setAside func(n int)

	conn   *grpc.ClientConn
	client runtimeapi.RuntimeServiceClient
	dials  dialState

	info atomic.Pointer[runtime.Info]

	// noStreamAt is 1 + the number of connections made when StreamContainers was found to be unimplemented. It is tried again
	// only on a new connection, because then the runtime may have been upgraded.
	noStreamAt atomic.Uint64
	lists      atomic.Uint64 // number of List calls; the sandboxes are listed at most once for each
	pods       podCache
}

var (
	_ runtime.Runtime   = (*Runtime)(nil)
	_ runtime.Finder    = (*Runtime)(nil)
	_ runtime.PIDReader = (*Runtime)(nil)
)

// New returns a Runtime. It checks the options and does not connect: if the socket is missing, the first call fails, and every
// later call tries again.
func New(o Options) (*Runtime, error) {
	ep, err := parseEndpoint(o.Endpoint)
	if err != nil {
		return nil, err
	}
	r := &Runtime{name: o.Name, endpoint: ep, timeout: o.Timeout, bounds: &rootBounds}
	if r.timeout <= 0 {
		r.timeout = DefaultTimeout
	}
	if r.labels, err = runtime.NewAllowList("labels", o.Labels); err != nil {
		return nil, err
	}
	if r.annotations, err = runtime.NewAllowList("annotations", o.Annotations); err != nil {
		return nil, err
	}
	if r.setAside = o.SetAside; r.setAside == nil {
		r.setAside = func(int) {}
	}
	if ep.Scheme == "unix" {
		if r.socket = socket.NewDialer(ep.Address, o.Owner); r.socket.Foreign() {
			r.bounds = &userBounds
		}
	}
	if r.conn, err = r.dial(&r.dials); err != nil {
		return nil, err
	}
	r.client = runtimeapi.NewRuntimeServiceClient(r.conn)
	return r, nil
}

// Endpoint returns the endpoint as a URL, for messages.
func (r *Runtime) Endpoint() string { return r.endpoint.String() }

// Dial returns another connection to the same endpoint. A stream uses its own connection so that it cannot slow down a list.
// The caller closes it.
func (r *Runtime) Dial() (*grpc.ClientConn, error) { return r.dial(nil) }

// SetAside counts entries that are not observed because their ids are not valid, for streams of other packages.
func (r *Runtime) SetAside(n int) { r.setAside(n) }

// owner returns the uid of the user whose runtime it is; 0 for root's, and before the first connection.
func (r *Runtime) owner() uint32 {
	if r.socket == nil {
		return 0
	}
	return r.socket.Owner()
}

// Info asks the runtime for its name and version.
func (r *Runtime) Info(ctx context.Context) (runtime.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	v, err := r.client.Version(ctx, &runtimeapi.VersionRequest{Version: "v1"})
	if err != nil {
		return runtime.Info{}, r.explain(err, "ask the runtime for its version")
	}
	info := runtime.Info{
		Engine:     engineName(v.GetRuntimeName()),
		Version:    runtime.Printable(strings.TrimSpace(v.GetRuntimeVersion()), runtime.MaxVersion),
		APIVersion: runtime.Printable(v.GetRuntimeApiVersion(), runtime.MaxVersion),
		Owner:      r.owner(),
	}
	r.info.Store(&info)
	return info, nil
}

// cachedInfo returns the latest result of Info, and calls Info if there is none yet.
func (r *Runtime) cachedInfo(ctx context.Context) (*runtime.Info, error) {
	if info := r.info.Load(); info != nil {
		return info, nil
	}
	if _, err := r.Info(ctx); err != nil {
		return nil, err
	}
	return r.info.Load(), nil
}

// Close closes the connection. Running calls fail.
func (r *Runtime) Close() error {
	if err := r.conn.Close(); err != nil && status.Code(err) != codes.Canceled { // already closed
		return fmt.Errorf("close the connection to %s: %w", r.endpoint, err)
	}
	return nil
}

// engineName normalizes the name that a runtime reports to the form that records use.
func engineName(name string) string {
	switch n := strings.ToLower(strings.TrimSpace(name)); n {
	case "cri-o", "crio":
		return "cri-o"
	case "":
		return "unknown"
	default: // containerd; docker, as cri-dockerd reports itself; unknown ones unchanged
		return runtime.Printable(n, runtime.MaxEngine)
	}
}
