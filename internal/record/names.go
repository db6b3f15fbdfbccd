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

// EventName returns the event name of a kind of transition, or "" for a kind without one.
func EventName(k container.Kind) string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return ""
}

// BackendKind returns the backend's kind for a kind of transition, or "" for a kind without one.
func BackendKind(k container.Kind) backendapi.Kind {
	if int(k) < len(eventKinds) {
		return eventKinds[k]
	}
	return ""
}

// engineOf returns the engine as ids contain it: docker, or docker@1000 for the runtime of user 1000. So no id of a user's runtime is
// one of root's, whatever that runtime reports.
func engineOf(engine string, owner uint32) string {
	if owner == 0 {
		return engine
	}
	return engine + "@" + strconv.FormatUint(uint64(owner), 10)
}

// EventID returns the id of a transition: a transition that is observed twice has the same id both times.
func EventID(t *container.Transition) string {
	return backendapi.EventID(engineOf(t.Container.Engine, t.Container.Owner), t.Container.ID, BackendKind(t.Kind), t.KeyTime(), t.Ordinal)
}

// GapID returns the id of a gap. A gap has no container: the node, the runtime's configured name and the cause replace it, so that
// two runtimes of one node, or two causes at the same time, do not share an id. The end is part of the id as well as the
// beginning, because several gaps can begin with the same list.
func GapID(node string, g *container.Gap) string {
	what := node + "/" + g.Runtime + "/" + g.Cause
	if !g.From.IsZero() {
		what += "/" + strconv.FormatInt(g.From.UnixNano(), 10)
	}
	return backendapi.EventID(engineOf(g.Engine, g.Owner), what, backendapi.KindObserverGap, g.To, 0)
}
