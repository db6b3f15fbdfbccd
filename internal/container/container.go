// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package container holds the domain types: containers, their states and runs, and the transitions between states. It
// depends on no runtime, no telemetry and no wire format; every other package of the project uses its terms.
//
// Values are plain data. Transitions and snapshots share a *Container, so it must not be changed after it was published. The
// zero time.Time means that a time is not known; a known time is never 1970 or the year 1.
package container

import "time"

// State is the state of a container as an observer knows it.
type State uint8

// The states. Docker's "restarting", "removing" and "dead" all map to StateExited.
const (
	StateUnknown State = iota
	StateCreated
	StateRunning
	StatePaused
	StateExited
)

var stateNames = [...]string{"unknown", "created", "running", "paused", "exited"}

// String returns the lower-case name that log records use.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return stateNames[StateUnknown]
}

// Container holds what stays the same over all runs of a container: its identity, its pod or project, and its image.
type Container struct {
	Engine  string // the runtime engine: containerd, cri-o, docker, podman
	Runtime string // the configured name of the observed runtime; distinguishes two of the same engine on one node
	Version string // the runtime's version, for example 1.6.20
	Owner   uint32 // uid of the user whose runtime it is; 0 if it is root's

	Platform Platform

	ID        string // the runtime's id without a scheme
	Name      string // CRI metadata.name, or Docker's name without the leading slash
	CreatedAt time.Time
	Attempt   uint32 // CRI metadata.attempt; 0 for the first container of a name in its pod

	Pod         Pod
	Compose     Compose
	Swarm       Swarm
	Image       Image
	Labels      map[string]string // allow-listed only
	Annotations map[string]string // allow-listed only
}

// Platform is what a container runs on. An empty OS or Arch means the observer's own.
type Platform struct {
	OS        string // a GOOS value: linux, windows
	Arch      string // a GOARCH value: amd64, arm64
	Isolation Isolation
}

// Pod is the Kubernetes pod of a container. All fields are empty if the container is in no pod.
type Pod struct {
	SandboxID string
	Namespace string
	Name      string
	UID       string
}

// Compose names the Compose project and service of a container. All fields are empty if Compose did not create it.
type Compose struct {
	Project string
	Service string
	Number  string // of the container within its service, from 1; empty for a one-off container (docker compose run)
}

// Identity returns what stays the same when Compose replaces a container by another one, as docker compose up
// --force-recreate does. It is empty if project, service or number is unknown.
func (c *Compose) Identity() string {
	if c.Project == "" || c.Service == "" || c.Number == "" {
		return ""
	}
	return "compose/" + c.Project + "/" + c.Service + "/" + c.Number
}

// Isolation is how Windows isolates a container from its host. It is empty on Linux, and on Windows if unknown.
type Isolation string

// The isolation modes: as a process on the host's kernel, or in a virtual machine of its own.
const (
	IsolationProcess Isolation = "process"
	IsolationHyperV  Isolation = "hyperv"
)

// Swarm names the Swarm service and task of a container. All fields are empty if Swarm did not create it.
type Swarm struct {
	ServiceID   string
	ServiceName string
	TaskID      string
}

// Image identifies the image that a container was created from.
type Image struct {
	Reference      string   // as requested by the user, for example ghcr.io/acme/api:1.8
	ID             string   // the image (configuration) digest, sha256:…
	RepoDigests    []string // repository@sha256:… as the runtime lists them
	ManifestDigest string   // sha256:… of the manifest or index; empty if the runtime does not report it
}

// Identity returns what a restart keeps: CRI's pod uid and container name; else Compose's project, service and number; else
// the container id, because a Docker container runs many times under one id. It is the same for all attempts of one
// container of one pod, and for all containers that Compose creates for one service and number.
func (c *Container) Identity() string {
	if c.Pod.UID != "" && c.Name != "" {
		return c.Pod.UID + "/" + c.Name
	}
	if c.Pod.SandboxID != "" && c.Name != "" {
		return c.Pod.SandboxID + "/" + c.Name
	}
	if id := c.Compose.Identity(); id != "" {
		return id
	}
	return c.ID
}

// Run is one life of a container's main process.
type Run struct {
	StartedAt  time.Time
	FinishedAt time.Time
	ExitCode   uint32 // valid only if ExitKnown; 32 bits unsigned because Windows uses all of them
	ExitKnown  bool   // false: the run ended with an unknown exit code
	Reason     string // the runtime's term: Completed, Error, OOMKilled, StartError, …; or host_reboot, which the observer sets
	OOMKilled  bool
	PID        uint32 // of the main process in the host's namespace; 0 if unknown
	// StopSignal names the signal that a user or tool requested before the run ended (SIGTERM, …). Empty if there was none
	// or it is unknown.
	StopSignal string
}

// Snapshot is the result of one inspection of one container.
type Snapshot struct {
	Container    *Container
	State        State
	Run          Run
	RestartCount uint32 // Docker's RestartCount, CRI's attempt or the kubelet's restartCount annotation
	OOM          bool   // a process in the container was OOM-killed and the container still runs
	Health       string // of a running container: starting, healthy or unhealthy; empty if it has no health check or it is unknown
}
