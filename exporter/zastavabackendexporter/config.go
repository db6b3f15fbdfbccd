// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"golang.org/x/net/http/httpguts"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// The values of Config.EventKinds.
const (
	eventKindsAll  = "all"  // every kind of the API
	eventKindsCore = "core" // CONTAINER_START and CONTAINER_STOP only, for backends with a closed list
)

// The smallest limits that still let work get done.
const (
	minBatchBytes = 4 << 10
	maxBatchBytes = 64 << 20 // an open limit would be memory's
)

// Config is the configuration of the exporter.
type Config struct {
	// Endpoint is the backend's base URL; it is required.
	ClientConfig confighttp.ClientConfig                                  `mapstructure:",squash"` // squash, as users know it from otlphttp
	QueueConfig  configoptional.Optional[exporterhelper.QueueBatchConfig] `mapstructure:"sending_queue"`
	RetryConfig  configretry.BackOffConfig                                `mapstructure:"retry_on_failure"`

	// DropOldest has a full queue make room by dropping its oldest records, counted by kind, where otherwise the source waits.
	DropOldest bool `mapstructure:"drop_oldest"`

	// Tenant owns every event; it is required. It goes into each event and into the tenant header.
	Tenant string `mapstructure:"tenant"`
	// Project goes into each event. Empty: absent.
	Project string `mapstructure:"project"`
	// Node is the name of the node for records whose resource has neither k8s.node.name nor host.name. Empty: such
	// records are invalid.
	Node string `mapstructure:"node"`
	// Annotations go into each event.
	Annotations map[string]string `mapstructure:"annotations"`
	// EventKinds is all or core.
	EventKinds string `mapstructure:"event_kinds"`

	// TenantHeader is the name of the request header that carries Tenant.
	TenantHeader string `mapstructure:"tenant_header"`
	// EventsPath is added to the endpoint.
	EventsPath string `mapstructure:"events_path"`

	// CallgraphID names the call graph that runtime facts are about: a text, with {imageDigest}, {component}, {version} and
	// {label:key} in it where it depends on the container. Empty: no facts are sent.
	CallgraphID string `mapstructure:"callgraph_id"`
	// FactsEndpoint is the base URL for facts. Empty: Endpoint.
	FactsEndpoint string `mapstructure:"facts_endpoint"`
	// FactsPath is added to it.
	FactsPath string `mapstructure:"facts_path"`

	// MaxBatchEvents is the most events in one request.
	MaxBatchEvents int `mapstructure:"max_batch_events"`
	// MaxBatchBytes is the most bytes in one request, as uncompressed JSON. An event larger than that is sent alone.
	MaxBatchBytes int `mapstructure:"max_batch_bytes"`

	// Quarantine keeps events that no retry can deliver.
	Quarantine QuarantineConfig `mapstructure:"quarantine"`

	// prevent unkeyed literal initialization
	_ struct{}
}

var _ component.Config = (*Config)(nil)

// QuarantineConfig says where events are kept that no retry can deliver.
type QuarantineConfig struct {
	// Directory is made when it is not there; no other exporter may have it. Empty: such events are dropped.
	Directory string `mapstructure:"directory"`
	// MaxFileBytes is when the next file is begun.
	MaxFileBytes int64 `mapstructure:"max_file_bytes"`
	// MaxTotalBytes is the most that the files may have together; then the oldest goes. At least twice MaxFileBytes.
	MaxTotalBytes int64 `mapstructure:"max_total_bytes"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// Validate is called by the collector.
func (cfg *QuarantineConfig) Validate() error {
	if cfg.Directory == "" {
		return nil
	}
	var faults []error
	if cfg.MaxFileBytes < minBatchBytes {
		faults = append(faults, fmt.Errorf("max_file_bytes %d is too small: use at least %d, so that an event has room", cfg.MaxFileBytes, minBatchBytes))
	}
	if cfg.MaxTotalBytes < 2*cfg.MaxFileBytes {
		faults = append(faults, fmt.Errorf("max_total_bytes %d is too small: use at least twice max_file_bytes, for one file to be written while another goes", cfg.MaxTotalBytes))
	}
	return errors.Join(faults...)
}

// Validate tells everything that is wrong with the configuration, and the remedy.
func (cfg *Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	if err := validateEndpoint(cfg.ClientConfig.Endpoint); err != nil {
		faults = append(faults, err)
	}
	switch {
	case cfg.Tenant == "":
		fault("tenant is empty: no event may leave without one; set it to the name that the backend knows you by")
	case !backendapi.ValidTenant(cfg.Tenant):
		fault("tenant %q cannot be sent in a header: use at most %d characters of printable ASCII without spaces",
			cfg.Tenant, backendapi.MaxTenant)
	}
	if utf8.RuneCountInString(cfg.Project) > backendapi.MaxName {
		fault("project has more than %d characters: shorten it", backendapi.MaxName)
	}
	if utf8.RuneCountInString(cfg.Node) > backendapi.MaxName {
		fault("node has more than %d characters: shorten it", backendapi.MaxName)
	}
	for _, key := range slices.Sorted(maps.Keys(cfg.Annotations)) {
		if !backendapi.PairFits(key, cfg.Annotations[key]) {
			fault("annotations::%s does not fit: use a key of 1 to %d and a value of at most %d characters",
				key, backendapi.MaxName, backendapi.MaxText)
		}
	}
	// The other half is for the annotations of containers.
	if most := backendapi.MaxPairs/2 - 1; len(cfg.Annotations) > most {
		fault("annotations has %d entries: set at most %d", len(cfg.Annotations), most)
	}
	if cfg.EventKinds != eventKindsAll && cfg.EventKinds != eventKindsCore {
		fault("event_kinds %q is not known: use %q, or %q for backends that accept CONTAINER_START and CONTAINER_STOP only",
			cfg.EventKinds, eventKindsAll, eventKindsCore)
	}
	if cfg.DropOldest && !cfg.QueueConfig.HasValue() {
		fault("drop_oldest is set and there is no queue: leave it out, or enable sending_queue")
	}
	if !httpguts.ValidHeaderFieldName(cfg.TenantHeader) {
		fault("tenant_header %q is not a header name: use for example %s", cfg.TenantHeader, backendapi.HeaderTenant)
	}
	if !strings.HasPrefix(cfg.EventsPath, "/") || strings.ContainsAny(cfg.EventsPath, "?#") {
		fault("events_path %q is not a path: begin it with / and leave out query and fragment, for example %s",
			cfg.EventsPath, backendapi.EventsPath)
	}
	if cfg.CallgraphID != "" {
		if _, err := parseGraph(cfg.CallgraphID); err != nil {
			faults = append(faults, err)
		}
		if !backendapi.Fits(cfg.CallgraphID, backendapi.MaxName) {
			fault("callgraph_id has more than %d characters: shorten it", backendapi.MaxName)
		}
	}
	if cfg.ClientConfig.ProxyURL != "" { // confighttp would quote it, with its password
		if u, err := url.ParseRequestURI(cfg.ClientConfig.ProxyURL); err != nil || u.Scheme == "" || u.Host == "" {
			fault("proxy_url is not a URL: write it as http://host:port")
		}
	}
	if cfg.FactsEndpoint != "" {
		if err := validateEndpoint(cfg.FactsEndpoint); err != nil {
			fault("facts_%w", err)
		}
	}
	if !strings.HasPrefix(cfg.FactsPath, "/") || strings.ContainsAny(cfg.FactsPath, "?#") {
		fault("facts_path %q is not a path: begin it with / and leave out query and fragment, for example %s",
			cfg.FactsPath, backendapi.FactsNDJSONPath)
	}
	if cfg.MaxBatchEvents < 1 {
		fault("max_batch_events %d is too small: use at least 1; the API's limit is %d", cfg.MaxBatchEvents, backendapi.MaxEventsPerBatch)
	}
	if cfg.MaxBatchBytes < minBatchBytes || cfg.MaxBatchBytes > maxBatchBytes {
		fault("max_batch_bytes %d is out of range: use %d to %d; the API's limit is %d",
			cfg.MaxBatchBytes, minBatchBytes, maxBatchBytes, backendapi.MaxBatchBytes)
	}
	return errors.Join(faults...)
}

// validateEndpoint never quotes an endpoint that it could not take apart: it may hold a password.
func validateEndpoint(endpoint string) error {
	if endpoint == "" {
		return errors.New("endpoint is empty: set it to the backend's base URL, for example https://backend.example.com")
	}
	u, err := url.Parse(endpoint)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return errors.New("endpoint is not an http or https URL: write it as https://host:port/base")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("endpoint %s has a query or fragment: leave them out, and set credentials by auth or headers", display(u))
	}
	return nil
}

// eventsURL is where batches are posted to.
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

// factsURL is where facts are posted to, without the query.
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

// display is u as logs and errors may show it: no user, no password, no query.
func display(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}
