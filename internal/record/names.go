// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"strconv"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/container"
)

// EventObserverGap is the event name of a container.Gap.
const EventObserverGap = "zastava.observer.gap"

// eventNames and eventKinds are indexed by container.Kind.
var (
	eventNames = [...]string{
		container.KindUnknown:        "",
		container.KindCreated:        "zastava.container.created",
		container.KindStarted:        "zastava.container.started",
		container.KindRestarted:      "zastava.container.restarted",
		container.KindStopped:        "zastava.container.stopped",
		container.KindPaused:         "zastava.container.paused",
		container.KindUnpaused:       "zastava.container.unpaused",
		container.KindRemoved:        "zastava.container.removed",
		container.KindOOM:            "zastava.container.oom",
		container.KindHealthChanged:  "zastava.container.health_changed",
		container.KindCrashLoop:      "zastava.container.crash_loop",
		container.KindCrashLoopEnded: "zastava.container.crash_loop_ended",
	}
	eventKinds = [...]backendapi.Kind{
		container.KindUnknown:        "",
		container.KindCreated:        backendapi.KindCreate,
		container.KindStarted:        backendapi.KindStart,
		container.KindRestarted:      backendapi.KindRestart,
		container.KindStopped:        backendapi.KindStop,
		container.KindPaused:         backendapi.KindPause,
		container.KindUnpaused:       backendapi.KindUnpause,
		container.KindRemoved:        backendapi.KindRemove,
		container.KindOOM:            backendapi.KindOOM,
		container.KindHealthChanged:  backendapi.KindHealth,
		container.KindCrashLoop:      backendapi.KindCrashLoop,
		container.KindCrashLoopEnded: backendapi.KindCrashLoopEnd,
	}
	kindByName = func() map[string]backendapi.Kind {
		m := make(map[string]backendapi.Kind, len(eventNames))
		for k := container.KindCreated; int(k) < len(eventNames); k++ {
			m[eventNames[k]] = eventKinds[k]
		}
		m[EventObserverGap] = backendapi.KindObserverGap
		return m
	}()
)

// EventName gives the event name of a kind of transition, and "" for a kind that has none.
func EventName(k container.Kind) string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return ""
}

// BackendKind gives the backend's word for a kind of transition, and "" for a kind that has none.
func BackendKind(k container.Kind) backendapi.Kind {
	if int(k) < len(eventKinds) {
		return eventKinds[k]
	}
	return ""
}

// EventID gives the id of a transition: the same thing seen twice has the same id.
func EventID(t *container.Transition) string {
	return backendapi.EventID(t.Container.Engine, t.Container.ID, BackendKind(t.Kind), t.KeyTime(), t.Ordinal)
}

// GapID gives the id of a gap. A gap has no container: node, the runtime's configured name and the cause take its place,
// so that two runtimes of one node, or two causes in one stretch of time, do not share an id. Its end counts as well as its
// beginning: several gaps can begin with the same list.
func GapID(node string, g *container.Gap) string {
	what := node + "/" + g.Runtime + "/" + g.Cause
	if !g.From.IsZero() {
		what += "/" + strconv.FormatInt(g.From.UnixNano(), 10)
	}
	return backendapi.EventID(g.Engine, what, backendapi.KindObserverGap, g.To, 0)
}
