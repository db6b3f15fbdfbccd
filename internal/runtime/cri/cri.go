// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package cri observes a container runtime through the Kubernetes Container Runtime Interface, version v1: containerd,
// CRI-O, cri-dockerd and whatever else speaks it, over a Unix socket or a Windows named pipe.
//
// It promises: only reads; a deadline on every unary call; a list that is complete or an error; times that are the
// runtime's own or unset (never zero, 1970 or the year 1); exit codes as unsigned 32 bits; labels and annotations only as
// far as the allow-lists go; and strings of bounded length. It refuses to look into a container's environment: the one
// verbose call it makes (PID) reads the process id from the answer and forgets the rest.
//
// A list costs a fraction of what decoding it would (see BenchmarkList): of each container only the id, state, creation
// time and attempt are read, and the rest stays encoded until Describe asks for it.
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
)

// DefaultTimeout is the deadline of a unary call when Options sets none. A list of 10,000 containers takes well under a
// second; containerd under heavy load was seen to need several.
const DefaultTimeout = 10 * time.Second

// Options says which runtime to observe and what to keep of it.
type Options struct {
	// Name is the configured name of the runtime; it becomes container.Container.Runtime.
	Name string
	// Endpoint is unix:///path, a bare absolute path, or npipe:////./pipe/name on Windows.
	Endpoint string
	// Timeout is the deadline of each unary call. 0 = DefaultTimeout.
	Timeout time.Duration
	// Labels and Annotations are glob patterns of the keys to keep; "*" matches any run of characters. Empty: none.
	Labels      []string
	Annotations []string
}

// Runtime is a CRI runtime. It implements runtime.Runtime, runtime.Finder and runtime.PIDReader. It has no stream of its
// own: see WithEvents, and package containerd.
type Runtime struct {
	name        string
	endpoint    endpoint
	timeout     time.Duration
	labels      runtime.AllowList
	annotations runtime.AllowList

	conn   *grpc.ClientConn
	client runtimeapi.RuntimeServiceClient
	dials  dialRecord

	info atomic.Pointer[runtime.Info]

	// unaryLists is 1 + the number of connections made when StreamContainers was found missing: it is asked for again on
	// a new connection only, since the runtime behind the socket may have been upgraded.
	unaryLists atomic.Uint64
	lists      atomic.Uint64 // lists begun; pods are looked up at most once for each
	pods       podCache
}

var (
	_ runtime.Runtime   = (*Runtime)(nil)
	_ runtime.Finder    = (*Runtime)(nil)
	_ runtime.PIDReader = (*Runtime)(nil)
)

// New makes a Runtime. It checks the options and connects to nothing yet: an absent socket shows at the first call, and
// every later call tries again.
func New(o Options) (*Runtime, error) {
	ep, err := parseEndpoint(o.Endpoint)
	if err != nil {
		return nil, err
	}
	r := &Runtime{name: o.Name, endpoint: ep, timeout: o.Timeout}
	if r.timeout <= 0 {
		r.timeout = DefaultTimeout
	}
	if r.labels, err = runtime.NewAllowList("labels", o.Labels); err != nil {
		return nil, err
	}
	if r.annotations, err = runtime.NewAllowList("annotations", o.Annotations); err != nil {
		return nil, err
	}
	if r.conn, err = r.endpoint.dial(&r.dials); err != nil {
		return nil, err
	}
	r.client = runtimeapi.NewRuntimeServiceClient(r.conn)
	return r, nil
}

// Endpoint gives the endpoint in its full form, for messages.
func (r *Runtime) Endpoint() string { return r.endpoint.String() }

// Dial opens one more connection to the same endpoint. A stream gets a connection of its own, so that whatever happens to
// it cannot slow a list. The caller closes it.
func (r *Runtime) Dial() (*grpc.ClientConn, error) { return r.endpoint.dial(nil) }

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
		Version:    clip(strings.TrimSpace(v.GetRuntimeVersion()), maxText),
		APIVersion: clip(v.GetRuntimeApiVersion(), maxText),
	}
	r.info.Store(&info)
	return info, nil
}

// known gives what the runtime last said it is, and asks it when it was never asked.
func (r *Runtime) known(ctx context.Context) (*runtime.Info, error) {
	if info := r.info.Load(); info != nil {
		return info, nil
	}
	if _, err := r.Info(ctx); err != nil {
		return nil, err
	}
	return r.info.Load(), nil
}

// Close ends the connection. Calls under way fail.
func (r *Runtime) Close() error {
	if err := r.conn.Close(); err != nil && status.Code(err) != codes.Canceled { // closed already
		return fmt.Errorf("close the connection to %s: %w", r.endpoint, err)
	}
	return nil
}

// engineName brings the name that a runtime gives itself into the form that records carry.
func engineName(name string) string {
	switch n := strings.ToLower(strings.TrimSpace(name)); n {
	case "cri-o", "crio":
		return "cri-o"
	case "":
		return "unknown"
	default: // containerd; docker, which is cri-dockerd's answer; others as they are
		return clip(n, maxText)
	}
}
