// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/config/configtls"
	"go.opentelemetry.io/collector/confmap"

	"github.com/zastava-otel/zastava/internal/observer"
	"github.com/zastava-otel/zastava/internal/retry"
	"github.com/zastava-otel/zastava/internal/runtime/cri"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// Engine selects the API of a runtime.
type Engine string

// The engines. EngineAuto detects the API of the endpoint. EngineCRI accepts any CRI server. EngineDocker is Docker's API, which
// Podman implements too.
const (
	EngineAuto       Engine = "auto"
	EngineContainerd Engine = "containerd"
	EngineCRIO       Engine = "cri-o"
	EngineCRI        Engine = "cri"
	EngineDocker     Engine = "docker"
)

// Stream selects the event stream of a runtime that is used besides its lists.
type Stream string

// The streams. StreamAuto is native on containerd and Docker, and cri elsewhere. StreamOff uses lists only.
const (
	StreamAuto   Stream = "auto"
	StreamNative Stream = "native"
	StreamCRI    Stream = "cri"
	StreamOff    Stream = "off"
)

// RuntimeConfig is one runtime to observe.
type RuntimeConfig struct {
	// Name identifies this runtime in records, metrics and logs. Default: the engine, or the detected name.
	Name string `mapstructure:"name"`
	// Engine is auto (default), containerd, cri-o, cri or docker.
	Engine Engine `mapstructure:"engine"`
	// Endpoint is unix:///path/to.sock, an absolute path, on Windows npipe:////./pipe/name, or for Docker tcp://host:port.
	// If empty, the well-known sockets of the engine are searched every detect_interval.
	Endpoint string `mapstructure:"endpoint"`
	// Stream is auto (default), native, cri or off.
	Stream Stream `mapstructure:"stream"`
	// Owner is the uid of the user whose runtime it is, 0 to 4294967294. By default a Unix socket must belong to root, or to the user of the
	// collector. Records of another user's runtime have zastava.runtime.owner, and this uid in their ids.
	Owner *int64 `mapstructure:"owner"`
	// TLS is for a tcp:// endpoint. Without it the connection is in plain text, and access to the port is root access to the host.
	TLS *configtls.ClientConfig `mapstructure:"tls"`

	_ struct{}
}

// MatchConfig selects containers by globs. Every list that is not empty must match.
type MatchConfig struct {
	Namespaces []string `mapstructure:"namespaces"`
	Pods       []string `mapstructure:"pods"`
	Containers []string `mapstructure:"containers"`
	Images     []string `mapstructure:"images"`

	_ struct{}
}

// CrashLoopConfig defines when failed ends are a crash loop.
type CrashLoopConfig struct {
	// Threshold is the number of failed ends of one identity within Window, 2 to 100; 0 = never.
	Threshold int           `mapstructure:"threshold"`
	Window    time.Duration `mapstructure:"window"`

	_ struct{}
}

// Config is the configuration of the receiver. It has more fields than other structs of the project because the collector decodes the
// user's YAML into it: each option of the receiver is one field, and options that belong together are a struct of their own.
type Config struct {
	// Runtimes are the runtimes to observe. If empty, the well-known sockets are searched.
	Runtimes []RuntimeConfig `mapstructure:"runtimes"`
	// PollInterval is the time between two lists without an event stream. At least 100 ms.
	PollInterval time.Duration `mapstructure:"poll_interval"`
	// ResyncInterval is the time between two lists while an event stream is connected. At least PollInterval.
	ResyncInterval time.Duration `mapstructure:"resync_interval"`
	// DetectInterval is the time between two searches for sockets of runtimes without an endpoint. At least 1 s.
	DetectInterval time.Duration `mapstructure:"detect_interval"`
	// DetectUserSockets has the runtimes of logged-in users searched too, at /run/user/<uid>. False by default: any local user can serve a
	// socket there, and decides what it reports.
	DetectUserSockets bool `mapstructure:"detect_user_sockets"`
	// Timeout is the deadline of each call to a runtime.
	Timeout time.Duration `mapstructure:"timeout"`
	// InitialInventory selects which containers of the first list are reported without a checkpoint: running, all or none.
	InitialInventory tracker.Inventory `mapstructure:"initial_inventory"`
	// Backoff is the delay between attempts to reach a runtime or to deliver records that the pipeline refused. Attempts do
	// not end, so max_elapsed_time must be 0.
	Backoff configretry.BackOffConfig `mapstructure:"backoff"`
	// CrashLoop defines when failed ends are a crash loop.
	CrashLoop CrashLoopConfig `mapstructure:"crash_loop"`
	// Labels and Annotations are globs of the keys that records have. None by default, because they may contain secrets.
	Labels      []string `mapstructure:"labels"`
	Annotations []string `mapstructure:"annotations"`
	// Include and Exclude select containers. A container is observed if it matches an include, or there is none, and matches
	// no exclude.
	Include []MatchConfig `mapstructure:"include"`
	Exclude []MatchConfig `mapstructure:"exclude"`
	// NodeName becomes k8s.node.name; usually ${env:K8S_NODE_NAME}.
	NodeName string `mapstructure:"node_name"`
	// HostRoot is the mount point of the host's root directory. It is used to find sockets and the machine id.
	HostRoot string `mapstructure:"host_root"`
	// Evidence configures the sampling of the containers' processes.
	Evidence EvidenceConfig `mapstructure:"evidence"`
	// StorageID is the storage extension for the checkpoint. Without it, a restart begins with an inventory.
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

// backOff returns the delays between attempts.
func (c *Config) backOff() retry.Options {
	b := &c.Backoff
	return retry.Options{Initial: b.InitialInterval, Max: b.MaxInterval, Multiplier: b.Multiplier, Jitter: b.RandomizationFactor}
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
