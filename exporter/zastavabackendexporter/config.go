// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/exporter/exporterhelper"

	"github.com/zastava-otel/zastava/internal/credentials"
)

// The values of Config.EventKinds.
const (
	eventKindsAll  = "all"  // every kind of the API
	eventKindsCore = "core" // CONTAINER_START and CONTAINER_STOP only, for backends with a closed list
)

// The range of max_batch_bytes.
const (
	minBatchBytes = 4 << 10  // an ordinary event has room
	maxBatchBytes = 64 << 20 // a batch is built in memory
)

// Config is the configuration of the exporter. It has more fields than other types here because each is an option of the user's
// file, whose layout follows the collector's own exporters.
type Config struct {
	// Endpoint is the backend's base URL; it is required.
	ClientConfig confighttp.ClientConfig                                  `mapstructure:",squash"` // squash, as users know it from otlphttp
	QueueConfig  configoptional.Optional[exporterhelper.QueueBatchConfig] `mapstructure:"sending_queue"`
	RetryConfig  configretry.BackOffConfig                                `mapstructure:"retry_on_failure"`

	// DropOldest makes a full queue drop its oldest records, counted by kind, where otherwise the source waits.
	DropOldest bool `mapstructure:"drop_oldest"`

	// Tenant owns every event; it is required. It goes into each event and into the tenant header.
	Tenant string `mapstructure:"tenant"`
	// Project goes into each event. If empty, events have none.
	Project string `mapstructure:"project"`
	// Node is the name of the node for records whose resource has neither k8s.node.name nor host.name. If empty,
	// such records are invalid.
	Node string `mapstructure:"node"`
	// Annotations go into each event.
	Annotations map[string]string `mapstructure:"annotations"`
	// EventKinds is all or core.
	EventKinds string `mapstructure:"event_kinds"`

	// TenantHeader is the name of the request header that carries Tenant.
	TenantHeader string `mapstructure:"tenant_header"`
	// EventsPath is appended to the endpoint.
	EventsPath string `mapstructure:"events_path"`

	// CallgraphID names the call graph that runtime facts belong to. It may contain {imageDigest}, {component}, {version} and
	// {label:key}, which depend on the container. If empty, no facts are sent.
	CallgraphID string `mapstructure:"callgraph_id"`
	// FactsEndpoint is the base URL for facts. If empty, they are sent to Endpoint.
	FactsEndpoint string `mapstructure:"facts_endpoint"`
	// FactsPath is appended to the base URL for facts.
	FactsPath string `mapstructure:"facts_path"`

	// MaxBatchEvents is the maximum number of events in one request.
	MaxBatchEvents int `mapstructure:"max_batch_events"`
	// MaxBatchBytes is the maximum size of one request as uncompressed JSON, in bytes. A larger event is sent alone.
	MaxBatchBytes int `mapstructure:"max_batch_bytes"`

	// InsecureCredentials allows credentials (auth, secret headers, user and password of a URL) to be sent over http to another
	// machine, where everybody on the way can read them.
	InsecureCredentials bool `mapstructure:"insecure_credentials"`

	// Quarantine keeps events that no retry can deliver.
	Quarantine QuarantineConfig `mapstructure:"quarantine"`

	// prevent unkeyed literal initialization
	_ struct{}
}

var _ component.Config = (*Config)(nil)

// QuarantineConfig configures the directory for events and facts that no retry can deliver.
type QuarantineConfig struct {
	// Directory is created if it does not exist; no other exporter may use it. If empty, such events are dropped.
	Directory string `mapstructure:"directory"`
	// MaxFileBytes is the size at which the next file is started.
	MaxFileBytes int64 `mapstructure:"max_file_bytes"`
	// MaxTotalBytes is the size of all files together at which the oldest is removed. At least twice MaxFileBytes.
	MaxTotalBytes int64 `mapstructure:"max_total_bytes"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// validateEndpoint never quotes an endpoint that it could not parse: it may contain a password.
func validateEndpoint(endpoint string) error {
	if endpoint == "" {
		return errors.New("endpoint is empty: set it to the backend's base URL, for example https://backend.example.com")
	}
	u, err := url.Parse(endpoint)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return errors.New("endpoint is not an http or https URL: write it as https://host:port/base")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("endpoint %s has a query or fragment: leave them out, and set credentials by auth or headers", credentials.Show(u))
	}
	return nil
}

// eventsURL returns the URL for batches of events.
func (cfg *Config) eventsURL() (*url.URL, error) {
	if err := validateEndpoint(cfg.ClientConfig.Endpoint); err != nil {
		return nil, err
	}
	u, err := url.Parse(cfg.ClientConfig.Endpoint)
	if err != nil {
		return nil, errors.New("endpoint is not a URL") // the error would quote it
	}
	return u.JoinPath(cfg.EventsPath), nil
}

// factsURL returns the URL for facts, without the query.
func (cfg *Config) factsURL() (*url.URL, error) {
	endpoint := cmp.Or(cfg.FactsEndpoint, cfg.ClientConfig.Endpoint)
	if err := validateEndpoint(endpoint); err != nil {
		return nil, err
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, errors.New("facts_endpoint is not a URL") // the error would quote it
	}
	return u.JoinPath(cfg.FactsPath), nil
}
