// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/runtime/cri"
	"github.com/zastava-otel/zastava/internal/runtime/detect"
	"github.com/zastava-otel/zastava/internal/runtime/docker"
)

var errNoRuntime = errors.New("no container runtime was found at any well-known socket; set runtimes[].endpoint, or mount the directory of the socket")

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

// detect looks for sockets, now and again, until ctx ends. What keeps a socket that was found from being observed is said once.
func (r *criObserver) detect(ctx context.Context, wanted []RuntimeConfig) {
	said := map[string]bool{} // endpoints, and "" for that there is none
	for {
		found, err := detect.Runtimes(detect.Machine{}, r.cfg.HostRoot)
		if err != nil {
			r.set.Logger.Debug("some places could not be looked at for runtimes", zap.Error(err))
		}
		var silent []error
		for _, f := range found {
			n := slices.IndexFunc(wanted, func(rc RuntimeConfig) bool { return fits(rc, f) })
			if n < 0 {
				continue
			}
			rc := wanted[n]
			err := r.speaks(ctx, f)
			if err == nil {
				delete(said, f.Endpoint)
				r.observe(ctx, RuntimeConfig{Name: nameFor(rc, f), Engine: engineFor(rc, f), Endpoint: f.Endpoint, Stream: rc.Stream})
				continue
			}
			if ctx.Err() != nil {
				return
			}
			if !errors.Is(err, runtime.ErrNotSupported) {
				silent = append(silent, err)
			}
			if !said[f.Endpoint] {
				said[f.Endpoint] = true
				r.saySilent(f, err)
			}
		}
		if err := r.foundNone(silent); err != nil {
			r.status.set("", err)
			if !said[""] {
				said[""] = true
				r.set.Logger.Warn("nothing is observed yet; looking again", zap.Duration("every", r.cfg.DetectInterval), zap.Error(err))
			}
		} else {
			r.status.set("", nil)
		}
		if !sleep(ctx, r.cfg.DetectInterval) {
			return
		}
	}
}

// saySilent says why a socket that was found is not observed: what listens there is another thing than it is called for, or it
// cannot be reached.
func (r *criObserver) saySilent(f detect.Runtime, err error) {
	fields := []zap.Field{zap.String("runtime", f.Name), zap.String("endpoint", f.Endpoint), zap.Error(err)}
	if errors.Is(err, runtime.ErrNotSupported) {
		r.set.Logger.Info("a socket is not observed, for it does not speak what its name says", fields...)
		return
	}
	r.set.Logger.Warn("a runtime's socket was found and cannot be observed; it is tried again at each look", fields...)
}

func fits(rc RuntimeConfig, f detect.Runtime) bool {
	switch rc.Engine {
	case "", EngineAuto:
		return true
	case EngineCRI:
		return f.Engine != string(EngineDocker)
	default:
		return f.Engine == string(rc.Engine)
	}
}

func engineFor(rc RuntimeConfig, f detect.Runtime) Engine {
	if f.Engine == string(EngineDocker) {
		return EngineDocker
	}
	return rc.Engine
}

func nameFor(rc RuntimeConfig, f detect.Runtime) string {
	if rc.Name != "" {
		return rc.Name
	}
	return f.Name
}

// speaks asks a socket that was only found by its name, once: the containerd of a plain Docker host does not speak CRI
// (runtime.ErrNotSupported). One that does not answer now is asked again at the next look.
func (r *criObserver) speaks(ctx context.Context, f detect.Runtime) error {
	r.mu.Lock()
	known := r.observed(f.Endpoint)
	r.mu.Unlock()
	if known {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	var rt runtime.Runtime
	var err error
	if f.Engine == string(EngineDocker) {
		rt, err = docker.New(docker.Options{Name: f.Name, Endpoint: f.Endpoint, Timeout: r.cfg.Timeout})
	} else {
		rt, err = cri.New(cri.Options{Name: f.Name, Endpoint: f.Endpoint, Timeout: r.cfg.Timeout})
	}
	if err != nil {
		return fmt.Errorf("prepare to ask %s what it is: %w", f.Endpoint, err)
	}
	info, err := rt.Info(ctx)
	closing(rt, r.set.Logger)
	if err != nil {
		return fmt.Errorf("ask what is there: %w", err)
	}
	if f.Engine != string(EngineDocker) {
		r.noteCRI(info) // before Docker's own socket, which comes later, is listed for the first time
	}
	return nil
}

// foundNone tells that no runtime is observed, and why those that were found are not.
func (r *criObserver) foundNone(silent []error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case len(r.running) > 0:
		return nil
	case len(silent) > 0:
		return errors.Join(silent...)
	default:
		return errNoRuntime
	}
}
