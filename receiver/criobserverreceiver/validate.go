// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/gobwas/glob"

	"github.com/zastava-otel/zastava/internal/runtime/cri"
	"github.com/zastava-otel/zastava/internal/runtime/docker"
	"github.com/zastava-otel/zastava/internal/runtime/socket"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// reportFault adds one fault of the configuration.
type reportFault func(format string, args ...any)

// Validate reports every fault at once: the field, its value and the remedy.
func (c *Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	c.validateRuntimes(fault)
	c.validateIntervals(fault)
	switch c.InitialInventory {
	case tracker.InventoryRunning, tracker.InventoryAll, tracker.InventoryNone:
	default:
		fault("initial_inventory: %q is unknown; use running, all or none", c.InitialInventory)
	}
	if c.CrashLoop.Threshold < 0 || c.CrashLoop.Threshold == 1 || c.CrashLoop.Threshold > 100 {
		fault("crash_loop.threshold: %d is not a valid number of failed ends; use 2 to 100, or 0 for never", c.CrashLoop.Threshold)
	}
	if c.CrashLoop.Window <= 0 {
		fault("crash_loop.window: %v is not a valid window; use more than 0, for example 10m", c.CrashLoop.Window)
	}
	checkGlobs(fault, "labels", c.Labels)
	checkGlobs(fault, "annotations", c.Annotations)
	c.Evidence.validate(fault)
	if _, err := c.filter(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

func (c *Config) validateIntervals(fault reportFault) {
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
		fault("timeout: %v is not a valid deadline; use more than 0, for example 10s", c.Timeout)
	}
	if c.Backoff.MaxElapsedTime != 0 {
		fault("backoff.max_elapsed_time: %v would end the observation; remove it, or use 0", c.Backoff.MaxElapsedTime)
	}
	if !c.Backoff.Enabled {
		fault("backoff.enabled: false would end the observation; remove it, or use true")
	}
	if c.Backoff.InitialInterval <= 0 || c.Backoff.MaxInterval < c.Backoff.InitialInterval {
		fault("backoff: initial_interval %v and max_interval %v are not a valid range; use initial_interval > 0 and max_interval >= initial_interval",
			c.Backoff.InitialInterval, c.Backoff.MaxInterval)
	}
}

// validateRuntimes validates each runtime and compares their names and endpoints.
func (c *Config) validateRuntimes(fault reportFault) {
	names, endpoints := map[string]int{}, map[string]int{}
	for i := range c.Runtimes {
		rc, field := &c.Runtimes[i], fmt.Sprintf("runtimes[%d]", i)
		rc.validateEngine(fault, field)
		rc.validateName(fault, field)
		rc.validateOwner(fault, field)
		if rc.validateEndpoint(fault, field) {
			at := place(rc.Endpoint)
			if j, used := endpoints[at]; used && at != "" {
				fault("%s.endpoint: %q is the endpoint of runtimes[%d] too; use each endpoint once", field, rc.Endpoint, j)
			}
			endpoints[at] = i
		}
		if rc.Name != "" {
			if j, used := names[rc.Name]; used {
				fault("%s.name: %q is the name of runtimes[%d] too; use another", field, rc.Name, j)
			}
			names[rc.Name] = i
		}
	}
}

// validateEngine validates the engine and whether it has the stream.
func (rc *RuntimeConfig) validateEngine(fault reportFault, field string) {
	switch rc.Engine {
	case "", EngineAuto, EngineContainerd, EngineCRIO, EngineCRI, EngineDocker:
	default:
		fault("%s.engine: %q is unknown; use auto, containerd, cri-o, cri or docker", field, rc.Engine)
	}
	switch rc.Stream {
	case "", StreamAuto, StreamOff:
	case StreamCRI:
		if rc.Engine == EngineDocker {
			fault("%s.stream: docker has no CRI stream; use auto, native or off", field)
		}
	case StreamNative:
		if rc.Engine == EngineCRIO || rc.Engine == EngineCRI {
			fault("%s.stream: native exists on containerd and docker only; use auto, cri or off with engine %s", field, rc.Engine)
		}
	default:
		fault("%s.stream: %q is unknown; use auto, native, cri or off", field, rc.Stream)
	}
}

func (rc *RuntimeConfig) validateName(fault reportFault, field string) {
	if strings.ContainsAny(rc.Name, "/\x00") || len(rc.Name) > 100 {
		fault("%s.name: %q has a slash or more than 100 characters; use a plain short name", field, rc.Name)
	}
}

// validateOwner validates the owner. Linux reserves 4294967295 for "no user".
func (rc *RuntimeConfig) validateOwner(fault reportFault, field string) {
	switch {
	case rc.Owner == nil:
	case *rc.Owner < 0 || *rc.Owner >= math.MaxUint32:
		fault("%s.owner: %d is not a user id; use the uid of the user whose runtime it is (id -u USER)", field, *rc.Owner)
	case rc.Endpoint == "":
		fault("%s.owner: %d needs the endpoint of that user's socket; set %s.endpoint, or use detect_user_sockets", field, *rc.Owner, field)
	case strings.HasPrefix(rc.Endpoint, "tcp://"), strings.Contains(rc.Endpoint, `pipe`) && !strings.HasPrefix(place(rc.Endpoint), "/"):
		fault("%s.owner: %d is for Unix sockets, and %q is none; remove it", field, *rc.Owner, rc.Endpoint)
	}
}

// ownerUID returns the configured owner in the form of package socket.
func (rc *RuntimeConfig) ownerUID() *uint32 {
	if rc.Owner == nil {
		return nil
	}
	uid := uint32(*rc.Owner)
	return &uid
}

// foreign reports whether the runtime is of a user other than root and the user of the collector.
func (rc *RuntimeConfig) foreign() bool { return socket.Foreign(rc.ownerUID()) }

// validateEndpoint reports whether the endpoint is valid or empty.
func (rc *RuntimeConfig) validateEndpoint(fault reportFault, field string) bool {
	if err := rc.checkEndpoint(); rc.Endpoint != "" && err != nil { // the error must not quote it: it may contain a password
		fault("%s.%w", field, err)
		return false
	}
	if rc.TLS != nil && !strings.HasPrefix(rc.Endpoint, "tcp://") {
		fault("%s.tls: is for tcp:// endpoints of docker, and %q is not one; remove it", field, rc.Endpoint)
	}
	return true
}

// checkEndpoint validates the endpoint for the API that is used there, or may be detected there.
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

func checkGlobs(fault reportFault, field string, globs []string) {
	for i, g := range globs {
		if g == "" {
			fault("%s[%d]: is empty and matches no key; use a key or a glob such as app.kubernetes.io/*, or remove it", field, i)
		}
		if _, err := glob.Compile(g); err != nil {
			fault("%s[%d]: %q is not a glob: %w; write a backslash before a literal special character", field, i, g, err)
		}
	}
}
