// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package container

import "time"

// Kind is what happened.
type Kind uint8

// The kinds of transition. Their event names and backend kinds are in package record.
const (
	KindUnknown Kind = iota
	KindCreated
	KindStarted
	KindRestarted
	KindStopped
	KindPaused
	KindUnpaused
	KindRemoved
	KindOOM
	KindHealthChanged
	KindCrashLoop
	KindCrashLoopEnded
)

var kindNames = [...]string{
	"unknown", "created", "started", "restarted", "stopped", "paused", "unpaused", "removed", "oom",
	"health_changed", "crash_loop", "crash_loop_ended",
}

// String gives the last part of the event name, for example "stopped".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[KindUnknown]
}

// Source tells how a transition was learnt.
type Source uint8

// The sources. Inventory: found going on at the first look. Checkpoint: found by comparing with what an earlier
// process of the observer had seen.
const (
	SourceList Source = iota
	SourceStream
	SourceCheckpoint
	SourceInventory
)

var sourceNames = [...]string{"list", "stream", "checkpoint", "inventory"}

// String gives the value of zastava.observation.source.
func (s Source) String() string { return sourceNames[s] }

// Precision tells what a transition's time is worth.
type Precision uint8

// Exact is the runtime's own time. Window: it happened after WindowStart and not after When.
const (
	PrecisionExact Precision = iota
	PrecisionWindow
)

// String gives the value of zastava.observation.precision.
func (p Precision) String() string {
	if p == PrecisionWindow {
		return "window"
	}
	return "exact"
}

// Provenance says how a transition is known and what may have been missed before it.
type Provenance struct {
	Source        Source
	Precision     Precision
	WindowStart   time.Time // with PrecisionWindow: the last moment at which it had not happened yet; zero = not known
	ObservedAt    time.Time // when the observer learnt it
	MissedRuns    uint32    // whole runs that are known to have happened unseen just before
	MissedUnknown bool      // runs may have happened unseen, and nothing tells how many
}

// Previous is the run before the one a restart began.
type Previous struct {
	ContainerID string
	FinishedAt  time.Time
	ExitCode    uint32
	ExitKnown   bool
	Reason      string
}

// CrashLoop sums up repeated unsuccessful ends of one identity.
type CrashLoop struct {
	Count    uint32        // unsuccessful ends counted
	Window   time.Duration // within which they were counted
	ExitCode uint32        // the most frequent exit code among them
	Reason   string        // the reason that came with it
}

// Transition is one thing that happened to one container. What makes it the same thing when it is seen twice is
// (Container.Engine, Container.ID, Kind, KeyTime, Ordinal); a later, better account of it has a higher Revision.
type Transition struct {
	Kind         Kind
	Ordinal      uint32 // counts repeats of a kind within one run: second pause, third OOM; 0 for the first
	Revision     uint32
	When         time.Time // when it happened; never zero
	Container    *Container
	State        State // after it happened
	Run          Run   // the run it belongs to; zero where there is none
	RestartCount uint32
	Previous     *Previous  // of KindRestarted
	CrashLoop    *CrashLoop // of KindCrashLoop and KindCrashLoopEnded
	Health       string     // of KindHealthChanged: what it changed to; starting, healthy or unhealthy
	Provenance   Provenance
}

// KeyTime is the moment that identifies the transition: the creation for what happens once in a container's life, the
// start of the run for what happens in a run, and the creation again where no run ever started.
func (t *Transition) KeyTime() time.Time {
	switch t.Kind {
	case KindCreated, KindRemoved:
		return t.Container.CreatedAt
	default:
		if t.Run.StartedAt.IsZero() {
			return t.Container.CreatedAt
		}
		return t.Run.StartedAt
	}
}

// Failed tells whether a run ended without success. An end of which nobody knows the exit code is not counted as failed.
func (r *Run) Failed() bool {
	return r.OOMKilled || (r.ExitKnown && r.ExitCode != 0)
}

// Gap is a stretch of time in which an observer could not see a runtime well enough to be sure that it missed nothing.
type Gap struct {
	Engine    string
	Runtime   string // the configured name of the runtime
	Version   string
	From      time.Time // the last moment that was surely seen
	To        time.Time // the moment sight was regained
	Cause     string    // one of the Cause constants
	Coalesced uint64    // transitions that are known to have been folded into later ones; 0 = not known
}

// The causes of a gap.
const (
	CauseListFailed      = "list_failed"      // the runtime did not answer for longer than a run can live
	CauseStreamLost      = "stream_lost"      // the event stream was interrupted; lists alone do not show what lives between two of them
	CauseObserverDown    = "observer_down"    // the observer itself was not running
	CauseMailboxOverflow = "mailbox_overflow" // notices came faster than they could be taken, or were taken late
	CauseOutboxFull      = "outbox_full"      // the pipeline refused for so long that state was folded
	CauseRemovedUnseen   = "removed_unseen"   // a container was removed that was never seen to stop
)
