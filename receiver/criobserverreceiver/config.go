// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gobwas/glob"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/config/configtls"
	"go.opentelemetry.io/collector/confmap"

	"github.com/zastava-otel/zastava/internal/observer"
	"github.com/zastava-otel/zastava/internal/runtime/cri"
	"github.com/zastava-otel/zastava/internal/runtime/docker"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// Engine is what a runtime is spoken to as.
type Engine string

// The engines. EngineAuto asks the endpoint who it is; EngineCRI speaks plain CRI to anything; EngineDocker speaks Docker's
// API, to Podman too.
const (
	EngineAuto       Engine = "auto"
	EngineContainerd Engine = "containerd"
	EngineCRIO       Engine = "cri-o"
	EngineCRI        Engine = "cri"
	EngineDocker     Engine = "docker"
)

// Stream says which event stream of a runtime is followed besides its lists.
type Stream string

// The streams. StreamAuto is native on containerd and Docker, and cri elsewhere; StreamOff only lists.
const (
	StreamAuto   Stream = "auto"
	StreamNative Stream = "native"
	StreamCRI    Stream = "cri"
	StreamOff    Stream = "off"
)

// RuntimeConfig is one runtime to observe.
type RuntimeConfig struct {
	// Name tells this runtime from the others in records, metrics and logs. Default: the engine, or what was detected.
	Name string `mapstructure:"name"`
	// Engine is auto (default), containerd, cri-o, cri or docker.
	Engine Engine `mapstructure:"engine"`
	// Endpoint is unix:///path/to.sock, an absolute path, on Windows npipe:////./pipe/name, or for Docker tcp://host:port.
	// Empty: the well-known sockets of the engine are looked for, again every detect_interval.
	Endpoint string `mapstructure:"endpoint"`
	// Stream is auto (default), native, cri or off.
	Stream Stream `mapstructure:"stream"`
	// TLS of a tcp:// endpoint. Without it, the connection is in plain text: whoever reaches the port owns the host.
	TLS *configtls.ClientConfig `mapstructure:"tls"`

	_ struct{}
}

// MatchConfig names containers by glob. Every list that is not empty must fit.
type MatchConfig struct {
	Namespaces []string `mapstructure:"namespaces"`
	Pods       []string `mapstructure:"pods"`
	Containers []string `mapstructure:"containers"`
	Images     []string `mapstructure:"images"`

	_ struct{}
}

// CrashLoopConfig says when failed ends make a crash loop.
type CrashLoopConfig struct {
	// Threshold is how many failed ends of one identity within Window; 0 = never.
	Threshold int           `mapstructure:"threshold"`
	Window    time.Duration `mapstructure:"window"`

	_ struct{}
}

// Config of the receiver.
type Config struct {
	// Runtimes to observe. Empty: whatever the well-known sockets show.
	Runtimes []RuntimeConfig `mapstructure:"runtimes"`
	// PollInterval is the time between two lists while no event stream is followed. At least 100 ms.
	PollInterval time.Duration `mapstructure:"poll_interval"`
	// ResyncInterval is the time between two lists while an event stream is followed. At least PollInterval.
	ResyncInterval time.Duration `mapstructure:"resync_interval"`
	// DetectInterval is the time between two looks for the sockets of runtimes without an endpoint.
	DetectInterval time.Duration `mapstructure:"detect_interval"`
	// Timeout of each call to a runtime.
	Timeout time.Duration `mapstructure:"timeout"`
	// InitialInventory says what is reported of the containers that are found at the first look: running, all or none.
	InitialInventory tracker.Inventory `mapstructure:"initial_inventory"`
	// Backoff paces the tries to reach a runtime and to hand records to a pipeline that refuses them. It never gives up:
	// max_elapsed_time must be 0.
	Backoff configretry.BackOffConfig `mapstructure:"backoff"`
	// CrashLoop says when failed ends make a crash loop.
	CrashLoop CrashLoopConfig `mapstructure:"crash_loop"`
	// Labels and Annotations are globs of the keys that records carry. Default: none, for they may hold secrets.
	Labels      []string `mapstructure:"labels"`
	Annotations []string `mapstructure:"annotations"`
	// Include and Exclude pick containers. A container is observed when it matches some include, or there is none, and
	// no exclude.
	Include []MatchConfig `mapstructure:"include"`
	Exclude []MatchConfig `mapstructure:"exclude"`
	// NodeName becomes k8s.node.name; usually ${env:K8S_NODE_NAME}.
	NodeName string `mapstructure:"node_name"`
	// HostRoot is where the host's root directory is mounted, for looking up sockets and the machine id.
	HostRoot string `mapstructure:"host_root"`
	// Evidence says what is read of the processes of containers.
	Evidence EvidenceConfig `mapstructure:"evidence"`
	// StorageID names the storage extension that keeps the checkpoint. Without one, a restart begins with an inventory.
	StorageID *component.ID `mapstructure:"storage"`

	_ struct{}
}

var _ confmap.Validator = (*Config)(nil)

func createDefaultConfig() component.Config {
	backoff := configretry.NewDefaultBackOffConfig()
	backoff.InitialInterval, backoff.MaxInterval, backoff.MaxElapsedTime = time.Second, time.Minute, 0
	return &Config{
		PollInterval:     2 * time.Second,
		ResyncInterval:   time.Minute,
		DetectInterval:   10 * time.Second,
		Timeout:          cri.DefaultTimeout,
		InitialInventory: tracker.InventoryRunning,
		Backoff:          backoff,
		CrashLoop:        CrashLoopConfig{Threshold: 3, Window: 10 * time.Minute},
		Evidence:         defaultEvidence(),
	}
}

// Validate reports every fault at once: the field, the value and the remedy.
func (c *Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	c.validateRuntimes(fault)
	if c.PollInterval < 100*time.Millisecond {
		fault("poll_interval: %v is too short; use at least 100ms", c.PollInterval)
	}
	if c.ResyncInterval < c.PollInterval {
		fault("resync_interval: %v is shorter than poll_interval (%v); use at least that", c.ResyncInterval, c.PollInterval)
	}
	if c.DetectInterval < time.Second {
		fault("detect_interval: %v is too short; use at least 1s", c.DetectInterval)
	}
	if c.Timeout <= 0 {
		fault("timeout: %v is not a time to wait; use more than 0, for example 10s", c.Timeout)
	}
	switch c.InitialInventory {
	case tracker.InventoryRunning, tracker.InventoryAll, tracker.InventoryNone:
	default:
		fault("initial_inventory: %q is unknown; use running, all or none", c.InitialInventory)
	}
	if c.Backoff.MaxElapsedTime != 0 {
		fault("backoff.max_elapsed_time: %v would give up observing; remove it, or use 0", c.Backoff.MaxElapsedTime)
	}
	if !c.Backoff.Enabled {
		fault("backoff.enabled: false would give up observing; remove it, or use true")
	}
	if c.Backoff.InitialInterval <= 0 || c.Backoff.MaxInterval < c.Backoff.InitialInterval {
		fault("backoff: initial_interval %v and max_interval %v; use more than 0 and at least as much", c.Backoff.InitialInterval, c.Backoff.MaxInterval)
	}
	if c.CrashLoop.Threshold < 0 || c.CrashLoop.Threshold == 1 || c.CrashLoop.Threshold > 100 {
		fault("crash_loop.threshold: %d is no number of failed ends; use 2 to 100, or 0 for never", c.CrashLoop.Threshold)
	}
	if c.CrashLoop.Window <= 0 {
		fault("crash_loop.window: %v is no window; use more than 0, for example 10m", c.CrashLoop.Window)
	}
	checkGlobs(fault, "labels", c.Labels)
	checkGlobs(fault, "annotations", c.Annotations)
	c.Evidence.validate(fault)
	if _, err := c.filter(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

func (c *Config) validateRuntimes(fault func(string, ...any)) {
	names, endpoints := map[string]int{}, map[string]int{}
	for i, r := range c.Runtimes {
		field := fmt.Sprintf("runtimes[%d]", i)
		switch r.Engine {
		case "", EngineAuto, EngineContainerd, EngineCRIO, EngineCRI, EngineDocker:
		default:
			fault("%s.engine: %q is unknown; use auto, containerd, cri-o, cri or docker", field, r.Engine)
		}
		switch r.Stream {
		case "", StreamAuto, StreamOff:
		case StreamCRI:
			if r.Engine == EngineDocker {
				fault("%s.stream: docker has no CRI stream; use auto, native or off", field)
			}
		case StreamNative:
			if r.Engine == EngineCRIO || r.Engine == EngineCRI {
				fault("%s.stream: native exists on containerd and docker only; use auto, cri or off with engine %s", field, r.Engine)
			}
		default:
			fault("%s.stream: %q is unknown; use auto, native, cri or off", field, r.Stream)
		}
		if err := r.checkEndpoint(); r.Endpoint != "" && err != nil { // it is not quoted, for it may hold a password
			fault("%s.%w", field, err)
		} else {
			at := place(r.Endpoint)
			if j, twice := endpoints[at]; twice && at != "" {
				fault("%s.endpoint: %q is that of runtimes[%d] too; name each endpoint once", field, r.Endpoint, j)
			}
			endpoints[at] = i
			if r.TLS != nil && !strings.HasPrefix(r.Endpoint, "tcp://") {
				fault("%s.tls: is for tcp:// endpoints of docker, and %q is none; remove it", field, r.Endpoint)
			}
		}
		if r.Name != "" {
			if j, twice := names[r.Name]; twice {
				fault("%s.name: %q is that of runtimes[%d] too; use another", field, r.Name, j)
			}
			names[r.Name] = i
			if strings.ContainsAny(r.Name, "/\x00") || len(r.Name) > 100 {
				fault("%s.name: %q has a slash or more than 100 characters; use a plain short name", field, r.Name)
			}
		}
	}
}

func checkGlobs(fault func(string, ...any), field string, globs []string) {
	for i, g := range globs {
		if g == "" {
			fault("%s[%d]: is empty and matches no key; name a key, a glob such as app.kubernetes.io/*, or remove it", field, i)
		}
		if _, err := glob.Compile(g); err != nil {
			fault("%s[%d]: %q is not a glob: %w; write a backslash before a character that stands for itself", field, i, g, err)
		}
	}
}

// checkEndpoint tells what is wrong with the endpoint for the engine that is, or may be, spoken to there.
func (rc *RuntimeConfig) checkEndpoint() error {
	if rc.Engine == EngineDocker {
		return docker.CheckEndpoint(rc.Endpoint)
	}
	scheme, _, _ := strings.Cut(rc.Endpoint, "://")
	if (rc.Engine == "" || rc.Engine == EngineAuto) && (scheme == "tcp" || scheme == "ssh") {
		return docker.CheckEndpoint(rc.Endpoint)
	}
	return cri.CheckEndpoint(rc.Endpoint)
}

func (c *Config) filter() (*observer.Filter, error) {
	return observer.NewFilter(matches(c.Include), matches(c.Exclude))
}

func matches(configs []MatchConfig) []observer.Match {
	out := make([]observer.Match, len(configs))
	for i, m := range configs {
		out[i] = observer.Match{Namespaces: m.Namespaces, Pods: m.Pods, Containers: m.Containers, Images: m.Images}
	}
	return out
}
