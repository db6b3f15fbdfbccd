// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/internal/retry"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/runtime/cri"
	"github.com/zastava-otel/zastava/internal/runtime/detect"
	"github.com/zastava-otel/zastava/internal/runtime/docker"
	"github.com/zastava-otel/zastava/internal/runtime/socket"
)

var errNoRuntime = errors.New("no container runtime was found at any well-known socket; set runtimes[].endpoint, or mount the directory of the socket")

// detectable returns the entries without an endpoint, or one entry for any runtime if there are no entries.
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

// detect searches the well-known sockets every detect_interval until ctx ends, and observes what it finds.
func (r *criObserver) detect(ctx context.Context, wanted []RuntimeConfig) {
	logged := map[string]bool{} // endpoints whose fault was logged; "" is that nothing was found
	for {
		failed := r.observeFound(ctx, wanted, logged)
		if ctx.Err() != nil {
			return
		}
		err := r.errNothingObserved(failed)
		r.status.set("", err)
		if err != nil && !logged[""] {
			logged[""] = true
			r.set.Logger.Warn("no runtime is observed yet; the search is repeated", zap.Duration("every", r.cfg.DetectInterval), zap.Error(err))
		}
		if !retry.Sleep(ctx, r.cfg.DetectInterval) {
			return
		}
	}
}

// observeFound searches once and starts an observer for each wanted runtime that answers. It returns the errors of those that do not.
func (r *criObserver) observeFound(ctx context.Context, wanted []RuntimeConfig, logged map[string]bool) []error {
	found, err := detect.Runtimes(detect.Machine{}, detect.Options{Root: r.cfg.HostRoot, Users: r.cfg.DetectUserSockets})
	if err != nil {
		r.set.Logger.Debug("some places could not be searched for runtimes", zap.Error(err))
	}
	var failed []error
	for _, f := range found {
		n := slices.IndexFunc(wanted, func(rc RuntimeConfig) bool { return fits(rc, f) })
		if n < 0 {
			continue
		}
		rc := wanted[n]
		err := r.probe(ctx, f)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			delete(logged, f.Endpoint)
			r.observe(ctx, RuntimeConfig{Name: nameFor(rc, f), Engine: engineFor(rc, f), Endpoint: f.Endpoint, Stream: rc.Stream, Owner: ownerFor(f)})
			continue
		}
		if !errors.Is(err, runtime.ErrNotSupported) {
			failed = append(failed, err)
		}
		if !logged[f.Endpoint] {
			logged[f.Endpoint] = true
			r.logUnobserved(f, err)
		}
	}
	return failed
}

// logUnobserved logs why a socket that was found is not observed: another program listens there, or it does not answer.
func (r *criObserver) logUnobserved(f detect.Runtime, err error) {
	fields := []zap.Field{zap.String("runtime", f.Name), zap.String("endpoint", f.Endpoint), zap.Error(err)}
	if errors.Is(err, runtime.ErrNotSupported) {
		r.set.Logger.Info("a socket is not observed because it does not have the API of its name", fields...)
		return
	}
	if _, ok := errors.AsType[*socket.UntrustedError](err); ok {
		r.set.Logger.Warn("a socket was found and is not observed, because whoever serves it decides what it reports", fields...)
		return
	}
	r.set.Logger.Warn("a runtime's socket was found but does not answer; it is tried again at each search", fields...)
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

// ownerFor returns the owner that a detected socket must have; nil for root and the collector's user.
func ownerFor(f detect.Runtime) *int64 {
	if f.Owner == 0 {
		return nil
	}
	uid := int64(f.Owner)
	return &uid
}

func nameFor(rc RuntimeConfig, f detect.Runtime) string {
	if rc.Name != "" {
		return rc.Name
	}
	return f.Name
}

// probe checks that a detected socket has the expected API: the containerd of a plain Docker host has no CRI
// (runtime.ErrNotSupported). A socket that is observed already is not probed again.
func (r *criObserver) probe(ctx context.Context, f detect.Runtime) error {
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
	rc := RuntimeConfig{Owner: ownerFor(f)}
	if f.Engine == string(EngineDocker) {
		rt, err = docker.New(docker.Options{Name: f.Name, Endpoint: f.Endpoint, Owner: rc.ownerUID(), Timeout: r.cfg.Timeout})
	} else {
		rt, err = cri.New(cri.Options{Name: f.Name, Endpoint: f.Endpoint, Owner: rc.ownerUID(), Timeout: r.cfg.Timeout})
	}
	if err != nil {
		return fmt.Errorf("connect to %s: %w", f.Endpoint, err)
	}
	info, err := rt.Info(ctx)
	closeRuntime(rt, r.set.Logger)
	if err != nil {
		return fmt.Errorf("get the version of the runtime: %w", err)
	}
	if f.Engine != string(EngineDocker) && !rc.foreign() {
		r.noteCRI(info) // before the first list of Docker's own socket, which is found later
	}
	return nil
}

// errNothingObserved returns nil if some runtime is observed, else why none is.
func (r *criObserver) errNothingObserved(failed []error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case len(r.running) > 0:
		return nil
	case len(failed) > 0:
		return errors.Join(failed...)
	default:
		return errNoRuntime
	}
}
