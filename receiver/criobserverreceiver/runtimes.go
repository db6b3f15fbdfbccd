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

// opener connects to a runtime and decides, from who it says it is, which event stream to follow.
func (r *criObserver) opener(rc RuntimeConfig, name string, log *zap.Logger) observer.Open {
	switch rc.spoken() {
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

// spoken tells which API to speak at the endpoint: EngineDocker, EngineCRI, or EngineAuto where that is to be found out.
func (rc *RuntimeConfig) spoken() Engine {
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
	return func(ctx context.Context) (runtime.Runtime, runtime.Info, error) {
		rt, err := cri.New(cri.Options{Name: name, Endpoint: rc.Endpoint, Timeout: r.cfg.Timeout, Labels: r.cfg.Labels, Annotations: r.cfg.Annotations})
		if err != nil {
			return nil, runtime.Info{}, err
		}
		info, err := rt.Info(ctx)
		if err == nil {
			r.noteCRI(info)
		}
		r.asked.answered(rc.Endpoint)
		if err == nil && rc.Engine != "" && rc.Engine != EngineAuto && rc.Engine != EngineCRI && info.Engine != string(rc.Engine) {
			err = fmt.Errorf("engine %q is configured and %q answers; set engine to auto", rc.Engine, info.Engine)
		}
		if err != nil {
			closing(rt, log)
			return nil, runtime.Info{}, err
		}
		log.Info("observing", zap.String("engine", info.Engine), zap.String("version", info.Version))
		return withStream(rt, info, rc.Stream, log), info, nil
	}
}

func (r *criObserver) dockerOpener(rc RuntimeConfig, name string, log *zap.Logger) observer.Open {
	var warn sync.Once
	return func(ctx context.Context) (runtime.Runtime, runtime.Info, error) {
		o := docker.Options{Name: name, Endpoint: rc.Endpoint, Timeout: r.cfg.Timeout, Labels: r.cfg.Labels, ObservedThroughCRI: r.criOnDocker.Load}
		if rc.TLS != nil {
			var err error
			if o.TLS, err = rc.TLS.LoadTLSConfig(ctx); err != nil {
				return nil, runtime.Info{}, fmt.Errorf("runtime %q: tls: %w", name, err)
			}
		}
		if o.TLS == nil && strings.HasPrefix(rc.Endpoint, "tcp://") {
			warn.Do(func() {
				log.Warn("this endpoint is spoken to in plain text: whoever can reach or read it owns the host; set tls")
			})
		}
		rt, err := docker.New(o)
		if err != nil {
			return nil, runtime.Info{}, err
		}
		r.asked.wait(ctx)
		info, err := rt.Info(ctx)
		if err != nil {
			closing(rt, log)
			return nil, runtime.Info{}, err
		}
		log.Info("observing", zap.String("engine", info.Engine), zap.String("version", info.Version), zap.String("api", info.APIVersion))
		if rc.Stream == StreamOff {
			return listed{rt, rt, rt}, info, nil
		}
		return rt, info, nil
	}
}

// answerWait is how long Docker's own socket waits for those of CRI to answer at first. One that is not there says so at once.
const answerWait = 2 * time.Second

// firstAnswers holds Docker's own socket back until the configured endpoints of CRI have been asked who they are, so that a
// container of cri-dockerd is not reported by both.
type firstAnswers struct {
	mu      sync.Mutex
	pending map[string]struct{} // endpoints
	all     chan struct{}       // closed when none is pending; nil: none ever was
}

// expect takes the configured runtimes, before any is observed.
func (a *firstAnswers) expect(runtimes []RuntimeConfig) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range runtimes {
		if rc := &runtimes[i]; rc.Endpoint != "" && rc.spoken() != EngineDocker {
			if a.pending == nil {
				a.pending, a.all = map[string]struct{}{}, make(chan struct{})
			}
			a.pending[rc.Endpoint] = struct{}{}
		}
	}
}

// answered notes that an endpoint has been asked, with whatever result.
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

// wait returns when all have been asked, after answerWait, or when ctx ends.
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

// listed is a runtime of whose stream nobody is to know.
type listed struct {
	runtime.Runtime
	runtime.Finder
	runtime.PIDReader
}

// noteCRI remembers that the containers which Kubernetes made on a Docker are observed through cri-dockerd: they are not
// reported from Docker's own socket as well.
func (r *criObserver) noteCRI(info runtime.Info) {
	if info.Engine == string(EngineDocker) {
		r.criOnDocker.Store(true)
	}
}

func closing(rt runtime.Runtime, log *zap.Logger) {
	if err := rt.Close(); err != nil {
		log.Debug("closing the connection failed", zap.Error(err))
	}
}

// withStream adds the event stream that is right for the runtime, or the one that is asked for.
func withStream(rt *cri.Runtime, info runtime.Info, stream Stream, log *zap.Logger) runtime.Runtime {
	isContainerd := info.Engine == string(EngineContainerd)
	switch {
	case stream == StreamOff:
		return rt
	case stream == StreamCRI:
		if isContainerd {
			log.Warn("stream cri on containerd: a collector that is paused or throttled will stall container starts and stops of the whole node; stream native has no such fault")
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
