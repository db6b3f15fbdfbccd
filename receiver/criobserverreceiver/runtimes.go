// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/internal/observer"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/runtime/containerd"
	"github.com/zastava-otel/zastava/internal/runtime/cri"
	"github.com/zastava-otel/zastava/internal/runtime/detect"
)

// opener connects to a runtime and decides, from who it says it is, which event stream to follow.
func (r *criObserver) opener(rc RuntimeConfig, name string, log *zap.Logger) observer.Open {
	return func(ctx context.Context) (runtime.Runtime, runtime.Info, error) {
		rt, err := cri.New(cri.Options{Name: name, Endpoint: rc.Endpoint, Timeout: r.cfg.Timeout, Labels: r.cfg.Labels, Annotations: r.cfg.Annotations})
		if err != nil {
			return nil, runtime.Info{}, err
		}
		info, err := rt.Info(ctx)
		if err == nil && rc.Engine != "" && rc.Engine != EngineAuto && rc.Engine != EngineCRI && info.Engine != string(rc.Engine) {
			err = fmt.Errorf("engine %q is configured and %q answers; set engine to auto", rc.Engine, info.Engine)
		}
		if err != nil {
			if closeErr := rt.Close(); closeErr != nil {
				log.Debug("closing the connection failed", zap.Error(closeErr))
			}
			return nil, runtime.Info{}, err
		}
		log.Info("observing", zap.String("engine", info.Engine), zap.String("version", info.Version))
		return withStream(rt, info, rc.Stream, log), info, nil
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

// detectable gives the entries that name no endpoint, or one that stands for everything when there are no entries at all.
func (r *criObserver) detectable() []RuntimeConfig {
	if len(r.cfg.Runtimes) == 0 {
		return []RuntimeConfig{{}}
	}
	var out []RuntimeConfig
	for _, rc := range r.cfg.Runtimes {
		if rc.Endpoint == "" {
			out = append(out, rc)
		}
	}
	return out
}

// detect looks for sockets, now and again, until ctx ends.
func (r *criObserver) detect(ctx context.Context, wanted []RuntimeConfig) {
	for {
		found, err := detect.Runtimes(detect.Machine{}, r.cfg.HostRoot)
		if err != nil {
			r.set.Logger.Debug("some places could not be looked at for runtimes", zap.Error(err))
		}
		for _, f := range found {
			for _, rc := range wanted {
				if fits(rc, f) && r.speaksCRI(ctx, f) {
					r.observe(ctx, RuntimeConfig{Name: nameFor(rc, f), Engine: rc.Engine, Endpoint: f.Endpoint, Stream: rc.Stream})
					break
				}
			}
		}
		r.status.set("", r.foundNone())
		if !sleep(ctx, r.cfg.DetectInterval) {
			return
		}
	}
}

func fits(rc RuntimeConfig, f detect.Found) bool {
	switch rc.Engine {
	case "", EngineAuto, EngineCRI:
		return f.Engine != "docker"
	default:
		return f.Engine == string(rc.Engine)
	}
}

func nameFor(rc RuntimeConfig, f detect.Found) string {
	if rc.Name != "" {
		return rc.Name
	}
	return f.Name
}

// speaksCRI asks a socket that was only found by its name, once: the containerd of a plain Docker host does not. One that
// does not answer now is asked again at the next look.
func (r *criObserver) speaksCRI(ctx context.Context, f detect.Found) bool {
	r.mu.Lock()
	_, known := r.running[f.Endpoint]
	r.mu.Unlock()
	if known {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	rt, err := cri.New(cri.Options{Name: f.Name, Endpoint: f.Endpoint, Timeout: r.cfg.Timeout})
	if err != nil {
		r.set.Logger.Debug("a socket is no endpoint", zap.String("endpoint", f.Endpoint), zap.Error(err))
		return false
	}
	_, err = rt.Info(ctx)
	if closeErr := rt.Close(); closeErr != nil {
		r.set.Logger.Debug("closing the connection failed", zap.Error(closeErr))
	}
	if err != nil {
		r.set.Logger.Debug("a socket does not answer as CRI", zap.String("endpoint", f.Endpoint), zap.Error(err))
	}
	return err == nil
}

func (r *criObserver) foundNone() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.running) > 0 {
		return nil
	}
	return errNoRuntime
}
