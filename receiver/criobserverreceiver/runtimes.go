// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"context"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/internal/observer"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/runtime/containerd"
	"github.com/zastava-otel/zastava/internal/runtime/cri"
	"github.com/zastava-otel/zastava/internal/runtime/docker"
)

// opener returns the function that connects to a runtime and selects its event stream by the reported engine.
func (r *criObserver) opener(rc RuntimeConfig, name string, log *zap.Logger) observer.Open {
	switch rc.api() {
	case EngineDocker:
		return r.dockerOpener(rc, name, log)
	case EngineAuto:
		asCRI, asDocker := r.criOpener(rc, name, log), r.dockerOpener(rc, name, log)
		return func(ctx context.Context) (runtime.Runtime, runtime.Info, error) {
			rt, info, err := asCRI(ctx)
			if err == nil || ctx.Err() != nil {
				return rt, info, err
			}
			if rt, info, dockerErr := asDocker(ctx); dockerErr == nil {
				return rt, info, nil
			}
			return nil, runtime.Info{}, err
		}
	default:
		return r.criOpener(rc, name, log)
	}
}

// api returns the API of the endpoint: EngineDocker, EngineCRI, or EngineAuto if it must be detected.
func (rc *RuntimeConfig) api() Engine {
	scheme, rest, found := strings.Cut(rc.Endpoint, "://")
	switch {
	case rc.Engine == EngineDocker:
		return EngineDocker
	case rc.Engine != "" && rc.Engine != EngineAuto:
		return EngineCRI
	case found && scheme == "tcp":
		return EngineDocker
	case !found:
		rest = rc.Endpoint
	}
	switch path.Base(strings.ReplaceAll(rest, `\`, "/")) {
	case "docker.sock", "podman.sock", "docker_engine":
		return EngineDocker
	default:
		return EngineAuto
	}
}

func (r *criObserver) criOpener(rc RuntimeConfig, name string, log *zap.Logger) observer.Open {
	setAside := r.tel.setAside(name, log)
	return func(ctx context.Context) (runtime.Runtime, runtime.Info, error) {
		rt, err := cri.New(cri.Options{
			Name: name, Endpoint: rc.Endpoint, Owner: rc.ownerUID(), Timeout: r.cfg.Timeout, Labels: r.cfg.Labels, Annotations: r.cfg.Annotations,
			SetAside: setAside,
		})
		if err != nil {
			return nil, runtime.Info{}, err
		}
		info, err := rt.Info(ctx)
		if err == nil && !rc.foreign() {
			r.noteCRI(info)
		}
		r.criAnswers.answered(rc.Endpoint)
		if err == nil && rc.Engine != "" && rc.Engine != EngineAuto && rc.Engine != EngineCRI && info.Engine != string(rc.Engine) {
			err = fmt.Errorf("engine %q is configured and %q answers; set engine to auto", rc.Engine, info.Engine)
		}
		if err != nil {
			closeRuntime(rt, log)
			return nil, runtime.Info{}, err
		}
		log.Info("observing", zap.String("engine", info.Engine), zap.String("version", info.Version))
		return withStream(rt, info, rc.Stream, log), info, nil
	}
}

func (r *criObserver) dockerOpener(rc RuntimeConfig, name string, log *zap.Logger) observer.Open {
	var warn sync.Once
	setAside := r.tel.setAside(name, log)
	return func(ctx context.Context) (runtime.Runtime, runtime.Info, error) {
		o := docker.Options{
			Name: name, Endpoint: rc.Endpoint, Owner: rc.ownerUID(), Timeout: r.cfg.Timeout, Labels: r.cfg.Labels, SetAside: setAside,
		}
		if !rc.foreign() { // no CRI observes a user's containers
			o.ObservedThroughCRI = r.criOnDocker.Load
		}
		if rc.TLS != nil {
			var err error
			if o.TLS, err = rc.TLS.LoadTLSConfig(ctx); err != nil {
				return nil, runtime.Info{}, fmt.Errorf("runtime %q: tls: %w", name, err)
			}
		}
		if o.TLS == nil && strings.HasPrefix(rc.Endpoint, "tcp://") {
			warn.Do(func() {
				log.Warn("the connection to this endpoint is in plain text: access to it is root access to the host; set tls")
			})
		}
		rt, err := docker.New(o)
		if err != nil {
			return nil, runtime.Info{}, err
		}
		r.criAnswers.wait(ctx)
		info, err := rt.Info(ctx)
		if err != nil {
			closeRuntime(rt, log)
			return nil, runtime.Info{}, err
		}
		log.Info("observing", zap.String("engine", info.Engine), zap.String("version", info.Version), zap.String("api", info.APIVersion))
		if rc.Stream == StreamOff {
			return listOnly{rt, rt, rt}, info, nil
		}
		return rt, info, nil
	}
}

// answerWait is how long Docker's own socket waits for the first answers of the CRI sockets. An absent socket fails at once.
const answerWait = 2 * time.Second

// firstAnswers delays Docker's own socket until the configured CRI endpoints were asked for their engine, so that a container of
// cri-dockerd is not reported by both.
type firstAnswers struct {
	mu      sync.Mutex
	pending map[string]struct{} // endpoints
	all     chan struct{}       // closed when no endpoint is pending; nil if there never was one
}

// expect adds the CRI endpoints of the configuration. It must be called before the first runtime is observed.
func (a *firstAnswers) expect(runtimes []RuntimeConfig) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range runtimes {
		if rc := &runtimes[i]; rc.Endpoint != "" && rc.api() != EngineDocker {
			if a.pending == nil {
				a.pending, a.all = map[string]struct{}{}, make(chan struct{})
			}
			a.pending[rc.Endpoint] = struct{}{}
		}
	}
}

// answered marks an endpoint as asked, even if it failed.
func (a *firstAnswers) answered(endpoint string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, was := a.pending[endpoint]; !was {
		return
	}
	if delete(a.pending, endpoint); len(a.pending) == 0 {
		close(a.all)
	}
}

// wait returns when all endpoints were asked, after answerWait, or when ctx ends.
func (a *firstAnswers) wait(ctx context.Context) {
	a.mu.Lock()
	all := a.all
	a.mu.Unlock()
	if all == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	select {
	case <-all:
	case <-ctx.Done():
	}
}

// listOnly hides the event stream of a runtime.
type listOnly struct {
	runtime.Runtime
	runtime.Finder
	runtime.PIDReader
}

// noteCRI stores that cri-dockerd is observed. Docker's own socket then does not report the containers of Kubernetes.
func (r *criObserver) noteCRI(info runtime.Info) {
	if info.Engine == string(EngineDocker) {
		r.criOnDocker.Store(true)
	}
}

func closeRuntime(rt runtime.Runtime, log *zap.Logger) {
	if err := rt.Close(); err != nil {
		log.Debug("close the connection failed", zap.Error(err))
	}
}

// withStream adds the configured event stream, or the best one for the runtime.
func withStream(rt *cri.Runtime, info runtime.Info, stream Stream, log *zap.Logger) runtime.Runtime {
	isContainerd := info.Engine == string(EngineContainerd)
	switch {
	case stream == StreamOff:
		return rt
	case stream == StreamCRI:
		if isContainerd {
			log.Warn("stream cri on containerd: a collector that is paused or throttled will stall container starts and stops of the whole node; use stream native, which does not")
		}
		return cri.WithEvents(rt)
	case isContainerd:
		return containerd.New(rt)
	case stream == StreamNative:
		log.Warn("stream native exists on containerd only; following CRI's stream", zap.String("engine", info.Engine))
		return cri.WithEvents(rt)
	default:
		return cri.WithEvents(rt)
	}
}
