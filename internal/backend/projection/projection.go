// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package projection derives what a container and its runs are now from the events that tell about them. Its functions
// are pure functions of a set of events: the order in which events arrived, and how often, play no part. Where two events
// disagree, the run that started later, the moment it happened, the place of its kind in a life and the event id decide,
// in this order.
//
// It expects one revision of each event, the latest; choosing it is the store's task.
package projection

import (
	"cmp"
	"slices"
	"time"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/container"
)

// StateRemoved is the state of a container that its runtime no longer has. The other states are those of package
// container.
const StateRemoved = "removed"

// Run is one life of a container's main process. Zero times, nil and empty mean not known.
type Run struct {
	StartedAt    time.Time
	Ended        bool
	FinishedAt   time.Time
	ExitCode     *uint32
	Signal       string
	Reason       string
	OOMKilled    bool
	RestartCount *uint32
}

// Container is the state of one container.
type Container struct {
	Engine, Node                   string
	Identity                       string // what restarts: pod uid and container name, or the container id
	Name, Namespace, Pod, PodUID   string
	ImageRef, ImageDigest, ImageID string
	State                          string
	Run                            Run       // the latest one
	Position                       time.Time // orders the attempts of one identity: the start of the latest run, or the first thing known
	LastEventAt                    time.Time
	Labels                         map[string]string
	Process                        *backendapi.Process
	LoadedLibs                     []backendapi.LoadedLib
}

// RunKey tells which run an event belongs to: the start of the run in nanoseconds since 1970, or 0 for what belongs to
// the container's life as a whole (creation, removal) and for what does not tell its run.
func RunKey(e *backendapi.Event) int64 {
	if e.Kind == backendapi.KindCreate || e.Kind == backendapi.KindRemove || e.Run == nil || e.Run.StartedAt == nil {
		return 0
	}
	return e.Run.StartedAt.UnixNano()
}

// Folds tells whether events of a kind make, hold or end a container or a run. Of the others only the latest need be
// given to FoldRun and Fold, and only where a run has no event that folds.
func Folds(kind backendapi.Kind) bool {
	switch kind {
	case backendapi.KindCreate, backendapi.KindStart, backendapi.KindRestart, backendapi.KindPause, backendapi.KindUnpause,
		backendapi.KindStop, backendapi.KindRemove:
		return true
	default:
		return false
	}
}

// Identity names what restarts: the pod's container over all its attempts, or the container itself.
func Identity(w *backendapi.Workload) string {
	if w == nil {
		return ""
	}
	if w.PodUID != "" && w.Container != "" {
		return w.PodUID + "/" + w.Container
	}
	return w.ContainerID
}

// rank is the place of a kind in a life; it orders events of one moment.
func rank(k backendapi.Kind) int {
	return slices.Index([]backendapi.Kind{
		backendapi.KindCreate, backendapi.KindStart, backendapi.KindRestart, backendapi.KindHealth, backendapi.KindOOM,
		backendapi.KindPause, backendapi.KindUnpause, backendapi.KindStop, backendapi.KindCrashLoop,
		backendapi.KindCrashLoopEnd, backendapi.KindRemove,
	}, k)
}

func order(a, b *backendapi.Event) int {
	return cmp.Or(
		a.When.Compare(b.When),
		cmp.Compare(rank(a.Kind), rank(b.Kind)),
		cmp.Compare(a.EventID, b.EventID),
	)
}

// FoldRun derives a run from the events of one run key. ok is false when they do not tell of a run at all.
func FoldRun(events []*backendapi.Event) (run Run, ok bool) {
	for _, e := range sorted(events) {
		switch e.Kind {
		case backendapi.KindCreate, backendapi.KindRemove, backendapi.KindCrashLoop, backendapi.KindCrashLoopEnd:
			continue
		case backendapi.KindStop:
			ok = true
		default:
			if RunKey(e) == 0 {
				continue // tells of no run that could be named
			}
			ok = true
		}
		if r := e.Run; r != nil {
			if r.StartedAt != nil {
				run.StartedAt = r.StartedAt.UTC()
			}
			if r.RestartCount != nil {
				run.RestartCount = r.RestartCount
			}
		}
		if e.Kind == backendapi.KindStop {
			end(&run, e)
		}
	}
	return run, ok
}

func end(run *Run, e *backendapi.Event) {
	run.Ended, run.FinishedAt = true, e.When.UTC()
	run.ExitCode, run.Signal, run.Reason, run.OOMKilled = nil, "", "", false
	if r := e.Run; r != nil {
		if r.FinishedAt != nil {
			run.FinishedAt = r.FinishedAt.UTC()
		}
		run.ExitCode, run.Signal, run.Reason, run.OOMKilled = r.ExitCode, r.Signal, r.Reason, r.OOMKilled
	}
}

// Fold derives a container from the events of its life as a whole (run key 0) and those of its latest run.
func Fold(life, latest []*backendapi.Event) Container {
	var c Container
	all := sorted(slices.Concat(life, latest))
	for _, e := range all {
		learn(&c, e)
	}
	run, hasRun := FoldRun(latest)
	outside, hasOutside := FoldRun(life) // an end that does not tell its run: a failed start, or an unknown start
	switch {
	case hasRun && hasOutside && !run.Ended && !outside.FinishedAt.Before(run.StartedAt):
		outside.StartedAt = run.StartedAt
		if outside.RestartCount == nil {
			outside.RestartCount = run.RestartCount
		}
		run = outside
	case !hasRun && hasOutside:
		run, hasRun = outside, true
	}
	c.Run = run
	c.State = state(all, run, hasRun)
	if len(all) > 0 {
		c.Position = all[0].When.UTC()
		if !run.StartedAt.IsZero() {
			c.Position = run.StartedAt
		}
		c.LastEventAt = all[len(all)-1].When.UTC()
	}
	return c
}

func state(all []*backendapi.Event, run Run, hasRun bool) string {
	created, paused := false, false
	for _, e := range all {
		switch e.Kind {
		case backendapi.KindRemove:
			return StateRemoved
		case backendapi.KindCreate:
			created = true
		case backendapi.KindPause:
			paused = true
		case backendapi.KindUnpause, backendapi.KindStart, backendapi.KindRestart:
			paused = false
		default: // ends are the run's; the others say nothing of the state
		}
	}
	switch {
	case hasRun && run.Ended:
		return container.StateExited.String()
	case paused:
		return container.StatePaused.String()
	case hasRun:
		return container.StateRunning.String()
	case created:
		return container.StateCreated.String()
	}
	return container.StateUnknown.String()
}

// learn takes what an event knows of the container. Events come oldest first; what a later one does not know stays.
func learn(c *Container, e *backendapi.Event) {
	set(&c.Engine, e.Runtime.Engine)
	set(&c.Node, e.Node)
	if w := e.Workload; w != nil {
		set(&c.Identity, Identity(w))
		set(&c.Name, w.Container)
		set(&c.Namespace, w.Namespace)
		set(&c.Pod, w.Pod)
		set(&c.PodUID, w.PodUID)
		set(&c.ImageRef, w.ImageRef)
		set(&c.ImageDigest, w.ImageDigest)
		set(&c.ImageID, w.ImageID)
		if w.Labels != nil {
			c.Labels = w.Labels
		}
	}
	if e.Process != nil {
		c.Process = e.Process
	}
	if e.LoadedLibs != nil {
		c.LoadedLibs = e.LoadedLibs
	}
}

func set(to *string, v string) {
	if v != "" {
		*to = v
	}
}

func sorted(events []*backendapi.Event) []*backendapi.Event {
	out := slices.Clone(events)
	slices.SortFunc(out, order)
	return out
}
