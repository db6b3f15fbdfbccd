// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package docker observes a Docker Engine, or Podman through its Docker-compatible API, over a Unix socket, a Windows named
// pipe or TCP. It stands on github.com/moby/moby/client, which is what github.com/docker/docker/client became after v28.5.2.
//
// It promises: only reads; a deadline on every call but the event stream; a list that is complete or an error; times that are
// the engine's own or unset; exit codes as unsigned 32 bits; labels only as far as the allow-list goes, and besides them only
// the fixed ones of Compose, Swarm and Kubernetes. It refuses to keep anything of a container's environment, its arguments,
// the output of its health checks, the command line of an exec or the text of an error: the engine sends all of these, they
// are decoded where the client leaves no choice, and dropped at once.
//
// What a list of Docker does not show is when a container was started, so a restart between two looks shows only in the text
// "Up 5 seconds". List reads that text as an interval of time and marks a container whose interval moved: see status.go for
// what this can and cannot tell. With the event stream nothing depends on it.
package docker

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/moby/moby/client"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// DefaultTimeout is the deadline of a call when Options sets none. A list of 500 containers takes some 40 ms.
const DefaultTimeout = 10 * time.Second

// Options says which engine to observe and what to keep of it.
type Options struct {
	// Name is the configured name of the runtime; it becomes container.Container.Runtime.
	Name string
	// Endpoint is unix:///path, an absolute path, npipe:////./pipe/name on Windows, or tcp://host:port.
	Endpoint string
	// TLS is for tcp:// only. Nil: the connection is in plain text.
	TLS *tls.Config
	// Timeout is the deadline of each call. 0 = DefaultTimeout.
	Timeout time.Duration
	// Labels are glob patterns of the label keys to keep; "*" matches any run of characters. Empty: none.
	Labels []string
	// ObservedThroughCRI tells whether containers with Kubernetes' labels are observed through CRI as well. Those, and the sandboxes
	// of pods, are left out then, except ones that were shown before. Nil: never.
	ObservedThroughCRI func() bool
}

// Runtime is a Docker Engine or a Podman. It implements runtime.Runtime, runtime.Finder, runtime.PIDReader and
// runtime.Watcher.
type Runtime struct {
	name      string
	endpoint  string
	timeout   time.Duration
	labels    runtime.AllowList
	elsewhere func() bool
	client    *client.Client
	memory    memory
	images    imageCache
	replay    replay
	streams   atomic.Uint64 // event streams that the engine agreed to
}

var (
	_ runtime.Runtime   = (*Runtime)(nil)
	_ runtime.Finder    = (*Runtime)(nil)
	_ runtime.PIDReader = (*Runtime)(nil)
	_ runtime.Watcher   = (*Runtime)(nil)
)

// New makes a Runtime. It checks the options and connects to nothing yet: an absent socket shows at the first call, and
// every later call tries again.
func New(o Options) (*Runtime, error) {
	ep, err := parseEndpoint(o.Endpoint)
	if err != nil {
		return nil, err
	}
	if o.TLS != nil && !strings.HasPrefix(ep, "tcp://") {
		return nil, fmt.Errorf("tls: is for tcp:// endpoints, and %s is none; remove it", ep)
	}
	r := &Runtime{name: o.Name, endpoint: ep, timeout: o.Timeout, elsewhere: o.ObservedThroughCRI}
	if r.timeout <= 0 {
		r.timeout = DefaultTimeout
	}
	if r.labels, err = runtime.NewAllowList("labels", o.Labels); err != nil {
		return nil, err
	}
	// A transport of its own: the client's default one is shared with nobody, but knows no TLS.
	transport := &http.Transport{MaxIdleConns: 4, IdleConnTimeout: 90 * time.Second, TLSClientConfig: o.TLS}
	scheme := "http"
	if o.TLS != nil {
		scheme = "https"
	}
	r.client, err = client.New(
		client.WithHTTPClient(&http.Client{Transport: transport, CheckRedirect: client.CheckRedirect}),
		client.WithHost(ep),
		client.WithScheme(scheme),
		client.WithHTTPResponseHook(func(answer *http.Response) {
			// The client's Events returns alike whether the engine agreed or the error is still to come.
			if answer.StatusCode == http.StatusOK && strings.HasSuffix(answer.Request.URL.Path, "/events") {
				r.streams.Add(1)
			}
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("prepare the connection to %s: %w", ep, err)
	}
	r.memory.init()
	r.images.init()
	return r, nil
}

// Endpoint gives the endpoint in its full form, for messages.
func (r *Runtime) Endpoint() string { return r.endpoint }

// Info asks the engine for its name and version, and settles the version of the API anew: the engine behind the socket may
// have been upgraded or downgraded.
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
		Engine: "docker", Version: clip(v.Version, maxText), APIVersion: clip(r.client.ClientVersion(), maxText),
		ShowsPause: true, RestartsInPlace: true, Platform: container.Platform{OS: word(v.Os), Arch: word(v.Arch)},
	}
	for _, c := range v.Components {
		if strings.HasPrefix(c.Name, "Podman") {
			info.Engine = "podman"
		}
	}
	p := peer{podman: info.Engine == "podman", host: info.Platform}
	if info.Platform.OS == "windows" {
		if p.isolation, err = r.defaultIsolation(ctx); err != nil && !isRefused(err) {
			return runtime.Info{}, err
		}
	}
	r.memory.setPeer(p)
	return info, nil
}

// defaultIsolation asks an engine on Windows how it isolates containers that ask for nothing: a server by a process, a desktop
// by Hyper-V.
func (r *Runtime) defaultIsolation(ctx context.Context) (container.Isolation, error) {
	answer, err := r.client.Info(ctx, client.InfoOptions{})
	if err != nil {
		return "", r.explain(err, "ask the engine how it isolates containers")
	}
	return isolation(string(answer.Info.Isolation), ""), nil
}

// Close ends all connections that are idle; a call under way ends with its context.
func (r *Runtime) Close() error {
	if err := r.client.Close(); err != nil {
		return fmt.Errorf("close the connection to %s: %w", r.endpoint, err)
	}
	return nil
}
