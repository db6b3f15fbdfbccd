// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// Validate returns everything that is wrong with the configuration, each fault with its remedy.
func (cfg *Config) Validate() error {
	faults := slices.Concat(cfg.identityFaults(), cfg.annotationFaults(), cfg.eventFaults(), cfg.factFaults(), cfg.requestFaults(),
		cfg.plainFaults("proxy_url", cfg.configuredProxy))
	return errors.Join(faults...)
}

// identityFaults checks what names the owner and the origin of events.
func (cfg *Config) identityFaults() (faults []error) {
	switch {
	case cfg.Tenant == "":
		faults = append(faults, errNoTenant)
	case !backendapi.ValidTenant(cfg.Tenant):
		faults = append(faults, fmt.Errorf("tenant %q cannot be sent in a header: use at most %d characters of printable ASCII without spaces",
			cfg.Tenant, backendapi.MaxTenant))
	}
	if !httpguts.ValidHeaderFieldName(cfg.TenantHeader) {
		faults = append(faults, fmt.Errorf("tenant_header %q is not a header name: use for example %s", cfg.TenantHeader, backendapi.HeaderTenant))
	}
	for _, of := range []struct{ option, value string }{{"project", cfg.Project}, {"node", cfg.Node}} {
		if utf8.RuneCountInString(of.value) > backendapi.MaxName {
			faults = append(faults, fmt.Errorf("%s has more than %d characters: shorten it", of.option, backendapi.MaxName))
		}
	}
	return faults
}

func (cfg *Config) annotationFaults() (faults []error) {
	for _, key := range slices.Sorted(maps.Keys(cfg.Annotations)) {
		if !backendapi.PairFits(key, cfg.Annotations[key]) {
			faults = append(faults, fmt.Errorf("annotations::%s does not fit: use a key of 1 to %d and a value of at most %d characters",
				key, backendapi.MaxName, backendapi.MaxText))
		}
	}
	// The other half is for the annotations of containers.
	if most := backendapi.MaxPairs/2 - 1; len(cfg.Annotations) > most {
		faults = append(faults, fmt.Errorf("annotations has %d entries: set at most %d", len(cfg.Annotations), most))
	}
	return faults
}

func (cfg *Config) eventFaults() (faults []error) {
	if err := validateEndpoint(cfg.ClientConfig.Endpoint); err != nil {
		faults = append(faults, err)
	}
	if !isPath(cfg.EventsPath) {
		faults = append(faults, fmt.Errorf("events_path %q is not a path: begin it with / and leave out query and fragment, for example %s",
			cfg.EventsPath, backendapi.EventsPath))
	}
	if cfg.EventKinds != eventKindsAll && cfg.EventKinds != eventKindsCore {
		faults = append(faults, fmt.Errorf("event_kinds %q is not known: use %q, or %q for backends that accept CONTAINER_START and CONTAINER_STOP only",
			cfg.EventKinds, eventKindsAll, eventKindsCore))
	}
	if cfg.DropOldest && !cfg.QueueConfig.HasValue() {
		faults = append(faults, errors.New("drop_oldest is set and there is no queue: leave it out, or enable sending_queue"))
	}
	return faults
}

func (cfg *Config) factFaults() (faults []error) {
	if cfg.CallgraphID != "" {
		if _, err := parseGraph(cfg.CallgraphID); err != nil {
			faults = append(faults, err)
		}
		if !backendapi.Fits(cfg.CallgraphID, backendapi.MaxName) {
			faults = append(faults, fmt.Errorf("callgraph_id has more than %d characters: shorten it", backendapi.MaxName))
		}
	}
	if cfg.FactsEndpoint != "" {
		if err := validateEndpoint(cfg.FactsEndpoint); err != nil {
			faults = append(faults, fmt.Errorf("facts_%w", err))
		}
	}
	if !isPath(cfg.FactsPath) {
		faults = append(faults, fmt.Errorf("facts_path %q is not a path: begin it with / and leave out query and fragment, for example %s",
			cfg.FactsPath, backendapi.FactsNDJSONPath))
	}
	return faults
}

// requestFaults checks the limits of a request and the proxy.
func (cfg *Config) requestFaults() (faults []error) {
	if cfg.ClientConfig.ProxyURL != "" { // confighttp's error would quote it with its password
		if u, err := url.ParseRequestURI(cfg.ClientConfig.ProxyURL); err != nil || u.Scheme == "" || u.Host == "" {
			faults = append(faults, errors.New("proxy_url is not a URL: write it as http://host:port"))
		}
	}
	if cfg.MaxBatchEvents < 1 {
		faults = append(faults, fmt.Errorf("max_batch_events %d is too small: use at least 1; the API's limit is %d", cfg.MaxBatchEvents, backendapi.MaxEventsPerBatch))
	}
	if cfg.MaxBatchBytes < minBatchBytes || cfg.MaxBatchBytes > maxBatchBytes {
		faults = append(faults, fmt.Errorf("max_batch_bytes %d is out of range: use %d to %d; the API's limit is %d",
			cfg.MaxBatchBytes, minBatchBytes, maxBatchBytes, backendapi.MaxBatchBytes))
	}
	return faults
}

var errNoTenant = errors.New("tenant is empty: no event is sent without one; set it to the name that the backend knows you by")

func isPath(s string) bool { return strings.HasPrefix(s, "/") && !strings.ContainsAny(s, "?#") }

// Validate returns everything that is wrong with the configuration. The collector calls it.
func (cfg *QuarantineConfig) Validate() error {
	if cfg.Directory == "" {
		return nil
	}
	var faults []error
	if cfg.MaxFileBytes < minBatchBytes {
		faults = append(faults, fmt.Errorf("max_file_bytes %d is too small: use at least %d, so that an event fits", cfg.MaxFileBytes, minBatchBytes))
	}
	if cfg.MaxTotalBytes < 2*cfg.MaxFileBytes {
		faults = append(faults, fmt.Errorf("max_total_bytes %d is too small: use at least twice max_file_bytes, so that one file can be written while another is removed", cfg.MaxTotalBytes))
	}
	return errors.Join(faults...)
}
