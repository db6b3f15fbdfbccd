// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/receiver"
	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/internal/checkpoint"
	"github.com/zastava-otel/zastava/internal/observer"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// criObserver runs one observer for each configured or detected runtime.
type criObserver struct {
	cfg      *Config
	set      receiver.Settings
	delivery *delivery
	tel      *telemetry
	filter   *observer.Filter

	host   component.Host
	status *status
	facts  observer.Host
	cancel context.CancelFunc
	work   sync.WaitGroup

	criOnDocker atomic.Bool // cri-dockerd is observed
	criAnswers  firstAnswers

	mu      sync.Mutex
	running map[string]string // names of the observed runtimes by endpoint
}

func newReceiver(cfg *Config, set receiver.Settings, next consumer.Logs) (*criObserver, error) {
	tel, err := newTelemetry(set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	d, err := newDelivery(cfg, set, next, tel)
	if err != nil {
		return nil, err
	}
	if d.samples, err = newSamples(cfg, d, tel, set.Logger); err != nil {
		return nil, err
	}
	filter, err := cfg.filter()
	if err != nil {
		return nil, err
	}
	return &criObserver{cfg: cfg, set: set, delivery: d, tel: tel, filter: filter, running: map[string]string{}}, nil
}

// Start begins to observe. An absent runtime is not an error: the status is a recoverable error until the runtime appears.
func (r *criObserver) Start(_ context.Context, host component.Host) error {
	if r.cfg.StorageID != nil {
		if _, err := r.storage(host); err != nil {
			return err
		}
	}
	r.host, r.status, r.facts = host, newStatus(host), hostFacts()
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.criAnswers.expect(r.cfg.Runtimes)
	if s := r.delivery.samples; s != nil {
		client := r.openStorage(ctx, samplerStorage, r.set.Logger, "containers that ended the sampler are sampled again after a restart")
		r.work.Go(func() { s.run(ctx, client, r.set.Logger) })
	}
	for _, rc := range r.cfg.Runtimes {
		if rc.Endpoint != "" {
			r.observe(ctx, rc)
		}
	}
	if kinds := r.detectable(); len(kinds) > 0 {
		r.work.Go(func() { r.detect(ctx, kinds) })
	}
	return nil
}

// Shutdown stops all observers. They have a few seconds to deliver pending transitions. With a checkpoint, transitions that were
// not accepted are found again after the next start.
func (r *criObserver) Shutdown(context.Context) error {
	if r.cancel != nil {
		r.cancel()
	}
	r.work.Wait()
	r.tel.shutdown()
	return nil
}

// observe starts the observer of one runtime if its endpoint is not observed already.
func (r *criObserver) observe(ctx context.Context, rc RuntimeConfig) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.observed(rc.Endpoint) {
		return
	}
	name := r.nameOf(rc)
	r.running[rc.Endpoint] = name
	log := r.set.Logger.With(zap.String("runtime", name), zap.String("endpoint", rc.Endpoint))

	client := r.openStorage(ctx, name, log, "there is no checkpoint, and the next restart begins with an inventory")
	var cp observer.Checkpoint
	if client != nil {
		cp = checkpoint.New(client, r.facts.BootID).WithEndpoint(placeOf(&rc))
	}
	open := r.delivery.samples.withPIDReader(name, rc, r.opener(rc, name, log))
	o := observer.New(r.options(name), open, r.delivery, r.delivery.samples.withRestoredRuns(cp), r.facts, r.tel.of(name),
		logger{log.WithOptions(zap.AddCallerSkip(1)).Sugar()}, func(err error) { r.status.set(name, err) })
	r.tel.watch(name, o.Stats)
	r.work.Go(func() {
		o.Run(ctx)
		if client != nil {
			if err := client.Close(context.Background()); err != nil {
				log.Warn("close the checkpoint failed", zap.Error(err))
			}
		}
	})
}

// samplerStorage is the name of the sampler's storage. No runtime can have it: validation refuses a slash in their names.
const samplerStorage = "sampler/suspended"

// openStorage opens the storage of one runtime's checkpoint, or of the sampler. It returns nil if none is configured or it cannot be
// opened; without says what that means.
func (r *criObserver) openStorage(ctx context.Context, name string, log *zap.Logger, without string) storage.Client {
	if r.cfg.StorageID == nil {
		return nil
	}
	extension, err := r.storage(r.host)
	var client storage.Client
	if err == nil {
		client, err = extension.GetClient(ctx, component.KindReceiver, r.set.ID, name)
	}
	if err != nil {
		log.Error("open the storage failed; "+without, zap.String("storage", name), zap.Error(err))
		return nil
	}
	return client
}

func (r *criObserver) options(name string) observer.Options {
	return observer.Options{
		Name: name, PollInterval: r.cfg.PollInterval, ResyncInterval: r.cfg.ResyncInterval, Timeout: r.cfg.Timeout,
		Backoff: r.cfg.backOff(),
		Tracker: tracker.Options{
			Inventory: r.cfg.InitialInventory, CrashLoopThreshold: r.cfg.CrashLoop.Threshold, CrashLoopWindow: r.cfg.CrashLoop.Window,
		},
		Filter: r.filter,
	}
}

// observed reports whether the socket of an endpoint is observed already, under any of its paths. The caller holds mu.
func (r *criObserver) observed(endpoint string) bool {
	at := place(endpoint)
	file, _ := os.Stat(at) // nil for an endpoint without a file, which os.SameFile never matches
	for other := range r.running {
		if place(other) == at {
			return true
		}
		if known, err := os.Stat(place(other)); err == nil && os.SameFile(file, known) {
			return true
		}
	}
	return false
}

// place normalizes an endpoint. A checkpoint belongs to one place, and one place is observed once.
func place(endpoint string) string {
	path := strings.TrimPrefix(endpoint, "unix://")
	if rest, ok := strings.CutPrefix(path, "/var/run/"); ok {
		return "/run/" + rest
	}
	return path
}

// placeOf returns the place that a checkpoint belongs to. Another user's runtime at the same place never continues it: what it does not
// list would count as removed.
func placeOf(rc *RuntimeConfig) string {
	if rc.Owner == nil || *rc.Owner == 0 {
		return place(rc.Endpoint)
	}
	return place(rc.Endpoint) + "@" + strconv.FormatInt(*rc.Owner, 10)
}

// nameOf returns a name that no other observed runtime has.
func (r *criObserver) nameOf(rc RuntimeConfig) string {
	name := rc.Name
	if name == "" {
		name = string(rc.Engine)
	}
	if name == "" || name == string(EngineAuto) {
		name = "cri"
	}
	taken := func(name string) bool {
		for _, other := range r.running {
			if other == name {
				return true
			}
		}
		return false
	}
	unique := name
	for n := 2; taken(unique); n++ {
		unique = fmt.Sprintf("%s-%d", name, n)
	}
	return unique
}

func (r *criObserver) storage(host component.Host) (storage.Extension, error) {
	ext, ok := host.GetExtensions()[*r.cfg.StorageID]
	if !ok {
		return nil, fmt.Errorf("storage: there is no extension %q; add it to extensions and service.extensions, or remove storage", r.cfg.StorageID)
	}
	s, ok := ext.(storage.Extension)
	if !ok {
		return nil, fmt.Errorf("storage: extension %q is not a storage extension; use one such as zastavastorage", r.cfg.StorageID)
	}
	return s, nil
}

// logger adapts zap to the observer. Its lines have the name of the runtime already.
type logger struct{ *zap.SugaredLogger }

func (l logger) Info(msg string, fields ...any) { l.Infow(msg, withoutRuntime(fields)...) }
func (l logger) Warn(msg string, fields ...any) { l.Warnw(msg, withoutRuntime(fields)...) }

func withoutRuntime(fields []any) []any {
	if len(fields) >= 2 && fields[0] == "runtime" {
		return fields[2:]
	}
	return fields
}
