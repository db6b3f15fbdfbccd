// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package container is the domain: what a container is, what state and run it is in, and which transitions it goes
// through. It knows no runtime, no telemetry and no wire format; every other package of the project speaks in its terms.
//
// Values are data. A *Container is shared by the transitions that mention it and must not be changed after it was handed
// out. An unset time is the zero time.Time and means "not known"; it is never 1970 or the year 1.
package container

import "time"

// State is where a container is in its life, as far as an observer can tell.
type State uint8

// The states. Docker's "restarting" is exited with a restart pending; its "removing" and "dead" are exited.
const (
	StateUnknown State = iota
	StateCreated
	StateRunning
	StatePaused
	StateExited
)

var stateNames = [...]string{"unknown", "created", "running", "paused", "exited"}

// String gives the lower-case name that records carry.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return stateNames[StateUnknown]
}

// Container is what stays the same over a container's runs: its identity, its place and its image.
type Container struct {
	Engine  string // the runtime engine: containerd, cri-o, docker, podman
	Runtime string // the configured name of the observed runtime; distinguishes two of the same engine on one node
	Version string // the runtime's version, for example 1.6.20

	Platform Platform

	ID        string // the runtime's id, bare (no scheme)
	Name      string // CRI metadata.name, or Docker's name without the leading slash
	CreatedAt time.Time
	Attempt   uint32 // CRI metadata.attempt; 0 for the first container of a name in its pod

	Pod         Pod
	Compose     Compose
	Swarm       Swarm
	Isolation   Isolation
	Image       Image
	Labels      map[string]string // allow-listed only
	Annotations map[string]string // allow-listed only
}

// Platform is the operating system and the architecture of the machine that containers run on. An empty field means the
// observer's own.
type Platform struct {
	OS   string // a GOOS value: linux, windows
	Arch string // a GOARCH value: amd64, arm64
}

// Pod is the Kubernetes pod a container belongs to. All fields are empty where there is none.
type Pod struct {
	SandboxID string
	Namespace string
	Name      string
	UID       string
}

// Compose is the place of a container in a Compose project. All fields are empty where there is none.
type Compose struct {
	Project string
	Service string
	Number  string // of the container within its service, from 1; "" for a one-off (docker compose run), which is no part of it
}

// Identity is what stays when Compose replaces a container by another one, as docker compose up --force-recreate does; ""
// where the container has no such place.
func (c *Compose) Identity() string {
	if c.Project == "" || c.Service == "" || c.Number == "" {
		return ""
	}
	return "compose/" + c.Project + "/" + c.Service + "/" + c.Number
}

// Isolation is how a container of Windows is kept apart from its host; "" on Linux, and where nobody told.
type Isolation string

// The isolations: as a process of the host's kernel, or in a virtual machine of its own.
const (
	IsolationProcess Isolation = "process"
	IsolationHyperV  Isolation = "hyperv"
)

// Swarm is the place of a container in a Swarm. All fields are empty where there is none.
type Swarm struct {
	ServiceID   string
	ServiceName string
	TaskID      string
}

// Image is what a container was made from.
type Image struct {
	Reference      string   // as asked for, for example ghcr.io/acme/api:1.8
	ID             string   // the image (configuration) digest, sha256:…
	RepoDigests    []string // repository@sha256:… as the runtime lists them
	ManifestDigest string   // sha256:… of the manifest or index, where the runtime tells it
}

// Identity is the thing that restarts: CRI pod uid and container name, Compose's project, service and number, or the
// container id where one id has many runs. It is stable over the attempts of one container of one pod, and over the
// containers that Compose makes for one place.
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
	ExitCode   uint32 // meaningful only when Ended; unsigned 32 bits, as Windows needs
	ExitKnown  bool   // false: the run ended and nobody can say with which code
	Reason     string // the runtime's word: Completed, Error, OOMKilled, StartError, …; or ours: host_reboot
	OOMKilled  bool
	PID        uint32 // of the main process in the host's namespace; 0 = not known
	// StopSignal names the signal that was sent on request before the run ended (SIGTERM, …); "" = none, or nobody can say.
	StopSignal string
}

// Snapshot is one look at one container.
type Snapshot struct {
	Container    *Container
	State        State
	Run          Run
	RestartCount uint32 // Docker's RestartCount, CRI's attempt or the kubelet's restartCount annotation
	OOM          bool   // a process inside was OOM-killed and the container runs on
	Health       string // of a container that runs: starting, healthy, unhealthy; "" = it has no check, or none is told
}
