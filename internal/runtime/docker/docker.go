// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package docker observes a Docker Engine, or Podman through its Docker-compatible API, over a Unix socket, a Windows named
// pipe or TCP. It uses github.com/moby/moby/client, the successor of github.com/docker/docker/client after v28.5.2.
//
// It promises: read-only calls; a deadline on every call except the event stream; a list that is complete or an error; times
// that the engine reported or the zero time; exit codes as unsigned 32 bits; only labels that the allow-list names and the fixed
// ones of Compose, Swarm and Kubernetes. It keeps nothing of a container's environment, its arguments, the output of its health
// checks, the command line of an exec or the text of an error: the engine sends all of these, the client decodes them, and this
// package drops them at once.
//
// A Docker list does not show when a container was started, so a restart between two lists shows only in the text
// "Up 5 seconds". List converts that text into a time interval, and the fingerprint of a summary changes if the interval moved:
// see status.go for the limits of this. With the event stream nothing depends on it.
package docker

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/docker/go-connections/sockets"
	"github.com/moby/moby/client"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/runtime/socket"
)

// DefaultTimeout is the deadline of a call if Options sets none. A list of 500 containers takes about 40 ms.
const DefaultTimeout = 10 * time.Second

// Options selects the engine to observe and the labels to keep.
type Options struct {
	// Name is the configured name of the runtime; it becomes container.Container.Runtime.
	Name string
	// Endpoint is unix:///path, an absolute path, npipe:////./pipe/name on Windows, or tcp://host:port.
	Endpoint string
	// Owner is the uid of the user whose engine it is. Nil for root, and for the user of this process.
	Owner *uint32
	// TLS is for tcp:// only. If nil, the connection is in plain text.
	TLS *tls.Config
	// Timeout is the deadline of each call. 0 = DefaultTimeout.
	Timeout time.Duration
	// Labels are glob patterns of the label keys to keep; "*" matches any sequence of characters. If empty, none are kept.
	Labels []string
	// ObservedThroughCRI reports whether containers with Kubernetes' labels are also observed through CRI. If so, these
	// containers and the sandboxes of pods are omitted, except those that a list showed before. If nil, none are omitted.
	ObservedThroughCRI func() bool
	// SetAside receives the number of entries of an answer that are not observed because their ids are not valid. Nil: not counted.
	SetAside func(n int)
}

// Runtime is a Docker Engine or a Podman. It implements runtime.Runtime, runtime.Finder, runtime.PIDReader and
// runtime.Watcher.
type Runtime struct {
	name               string
	endpoint           string
	timeout            time.Duration
	labels             runtime.AllowList
	observedThroughCRI func() bool
	setAside           func(n int)

	client    *client.Client
	transport *http.Transport
	socket    *socket.Dialer // nil if the endpoint is not a Unix socket
	bounds    *bounds
	memory    memory
	images    imageCache
	replay    replay
	streams   atomic.Uint64 // number of event streams that the engine accepted
}

var (
	_ runtime.Runtime   = (*Runtime)(nil)
	_ runtime.Finder    = (*Runtime)(nil)
	_ runtime.PIDReader = (*Runtime)(nil)
	_ runtime.Watcher   = (*Runtime)(nil)
)

// New returns a Runtime. It checks the options and does not connect: if the socket is missing, the first call fails, and every
// later call tries again.
func New(o Options) (*Runtime, error) {
	ep, err := parseEndpoint(o.Endpoint)
	if err != nil {
		return nil, err
	}
	if o.TLS != nil && !strings.HasPrefix(ep, "tcp://") {
		return nil, fmt.Errorf("tls: is for tcp:// endpoints, and %s is not one; remove it", ep)
	}
	r := &Runtime{name: o.Name, endpoint: ep, timeout: o.Timeout, observedThroughCRI: o.ObservedThroughCRI, setAside: o.SetAside, bounds: &rootBounds}
	if r.setAside == nil {
		r.setAside = func(int) {}
	}
	if r.timeout <= 0 {
		r.timeout = DefaultTimeout
	}
	if r.labels, err = runtime.NewAllowList("labels", o.Labels); err != nil {
		return nil, err
	}
	if r.client, err = r.newClient(o); err != nil {
		return nil, fmt.Errorf("prepare the connection to %s: %w", ep, err)
	}
	return r, nil
}

// newClient returns a client whose connections go to trusted sockets only, and whose answers are bounded.
func (r *Runtime) newClient(o Options) (*client.Client, error) {
	// The client's default transport does not support TLS. Without compression, the size of an answer is what was sent.
	transport := &http.Transport{
		MaxIdleConns: 4, IdleConnTimeout: 90 * time.Second, TLSClientConfig: o.TLS, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
	}
	scheme := "http"
	if o.TLS != nil {
		scheme = "https"
	}
	host, err := client.ParseHostURL(r.endpoint)
	if err != nil {
		return nil, err
	}
	if err := sockets.ConfigureTransport(transport, host.Scheme, host.Host); err != nil {
		return nil, err
	}
	transport.DisableCompression = true
	if path, ok := strings.CutPrefix(r.endpoint, "unix://"); ok {
		if r.socket = socket.NewDialer(path, o.Owner); r.socket.Foreign() {
			r.bounds = &userBounds
		}
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return r.socket.Dial(ctx) }
	}
	r.transport = transport
	return client.New(
		client.WithHost(r.endpoint),
		client.WithScheme(scheme),
		client.WithHTTPClient(&http.Client{Transport: boundedTransport{r}, CheckRedirect: client.CheckRedirect}), // after WithHost, which knows no such transport
	)
}

// boundedTransport bounds the answers of an engine. A hook of the client could not: it receives no body.
type boundedTransport struct{ runtime *Runtime }

func (t boundedTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.runtime.transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	// The client's Events returns the same before an error as it does after the engine accepted the stream. These statuses are no error to it.
	if response.StatusCode >= http.StatusOK && response.StatusCode < http.StatusBadRequest && strings.HasSuffix(request.URL.Path, "/events") {
		t.runtime.streams.Add(1)
	}
	t.runtime.bounded(response)
	return response, nil
}

// owner returns the uid of the user whose engine it is; 0 for root's, and before the first connection.
func (r *Runtime) owner() uint32 {
	if r.socket == nil {
		return 0
	}
	return r.socket.Owner()
}

// Endpoint returns the endpoint as a URL, for messages.
func (r *Runtime) Endpoint() string { return r.endpoint }

// Info asks the engine for its name and version, and negotiates the API version again, because the engine may have been
// upgraded or downgraded.
func (r *Runtime) Info(ctx context.Context) (runtime.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	if _, err := r.client.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true, ForceNegotiate: true}); err != nil {
		return runtime.Info{}, r.explain(err, "ping the engine")
	}
	v, err := r.client.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return runtime.Info{}, r.explain(err, "ask the engine for its version")
	}
	info := runtime.Info{
		Engine: "docker", Version: runtime.Printable(v.Version, runtime.MaxVersion), APIVersion: runtime.Printable(r.client.ClientVersion(), runtime.MaxVersion),
		ShowsPause: true, RestartsInPlace: true, Platform: container.Platform{OS: platformName(v.Os), Arch: platformName(v.Arch)},
		Owner: r.owner(),
	}
	for _, c := range v.Components {
		if strings.HasPrefix(c.Name, "Podman") {
			info.Engine = "podman"
		}
	}
	p := peer{podman: info.Engine == "podman", platform: info.Platform}
	if info.Platform.OS == "windows" {
		if p.isolation, err = r.defaultIsolation(ctx); err != nil && !isRefused(err) {
			return runtime.Info{}, err
		}
	}
	r.memory.setPeer(p)
	return info, nil
}

// defaultIsolation asks an engine on Windows how it isolates a container that requests no isolation mode: a server uses
// process isolation, a desktop Hyper-V.
func (r *Runtime) defaultIsolation(ctx context.Context) (container.Isolation, error) {
	response, err := r.client.Info(ctx, client.InfoOptions{})
	if err != nil {
		return "", r.explain(err, "get the default isolation of the engine")
	}
	return isolation(string(response.Info.Isolation), ""), nil
}

// Close closes all idle connections. A running call ends with its context.
func (r *Runtime) Close() error {
	r.transport.CloseIdleConnections()
	if err := r.client.Close(); err != nil {
		return fmt.Errorf("close the connection to %s: %w", r.endpoint, err)
	}
	return nil
}
