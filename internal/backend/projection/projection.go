// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package projection derives the state of a container and its runs from their events. Its functions are pure functions of a set
// of events: the order in which events arrived, and how often, does not matter. If two events disagree, these decide, in this
// order: the run that started later, the moment of the event, the place of its kind in a life, the event id.
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
	Engine, Node string
	Identity     string // what a restart keeps: pod uid and container name, or the container id
	Place
	Image
	State       string
	Run         Run       // the latest one
	Position    time.Time // orders the attempts of one identity: the start of the latest run, or the first event
	LastEventAt time.Time
	Labels      map[string]string
	Process     *backendapi.Process
	LoadedLibs  []backendapi.LoadedLib
}

// Place is where a container belongs.
type Place struct{ Name, Namespace, Pod, PodUID string }

// Image is the image that a container was made from.
type Image struct{ ImageRef, ImageDigest, ImageID string }

// RunKey returns the run that an event belongs to: the start of the run in nanoseconds since 1970, or 0 for an event of the
// container's life as a whole (creation, removal) and for one that does not name its run.
func RunKey(e *backendapi.Event) int64 {
	if e.Kind == backendapi.KindCreate || e.Kind == backendapi.KindRemove || e.Run == nil || e.Run.StartedAt == nil {
		return 0
	}
	return e.Run.StartedAt.UnixNano()
}

// Folds reports whether events of a kind begin, pause or end a container or a run. Of the others FoldRun and Fold need only the
// latest, and only if a run has no event that folds.
func Folds(kind backendapi.Kind) bool {
	switch kind {
	case backendapi.KindCreate, backendapi.KindStart, backendapi.KindRestart, backendapi.KindPause, backendapi.KindUnpause,
		backendapi.KindStop, backendapi.KindRemove:
		return true
	default:
		return false
	}
}

// Identity returns what a restart keeps: pod uid and container name, or the container id. Empty for a gap.
func Identity(w *backendapi.Workload) string {
	if w == nil {
		return ""
	}
	if w.PodUID != "" && w.Container != "" {
		return w.PodUID + "/" + w.Container
	}
	return w.ContainerID
}

// rank returns the place of a kind in a life, which orders events of one moment.
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

// FoldRun derives a run from the events of one run key. ok is false when none of them is about a run.
func FoldRun(events []*backendapi.Event) (run Run, ok bool) {
	for _, e := range sorted(events) {
		switch e.Kind {
		case backendapi.KindCreate, backendapi.KindRemove, backendapi.KindCrashLoop, backendapi.KindCrashLoopEnd:
			continue
		case backendapi.KindStop:
			ok = true
		default:
			if RunKey(e) == 0 {
				continue // names no run
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
		merge(&c, e)
	}
	run, hasRun := FoldRun(latest)
	outside, hasOutside := FoldRun(life) // a stop that does not name its run: the start failed or is unknown
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
		default: // a stop ends the run, not the container; the others do not change the state
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

// merge sets the fields that the event knows. Events come oldest first; a later event that does not know a field keeps it.
func merge(c *Container, e *backendapi.Event) {
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
