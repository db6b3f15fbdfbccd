// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package container

import "time"

// Kind is the kind of a transition.
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

// String returns the last part of the event name, for example "stopped".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[KindUnknown]
}

// Source is how the observer learnt of a transition.
type Source uint8

// The sources. Inventory: the first list showed the container already in this state. Checkpoint: found by comparison with
// the state that an earlier process of the observer stored.
const (
	SourceList Source = iota
	SourceStream
	SourceCheckpoint
	SourceInventory
)

var sourceNames = [...]string{"list", "stream", "checkpoint", "inventory"}

// String returns the value of zastava.observation.source.
func (s Source) String() string { return sourceNames[s] }

// Precision is the precision of a transition's time.
type Precision uint8

// Exact: the runtime reported the time. Window: the transition happened after WindowStart and not after When.
const (
	PrecisionExact Precision = iota
	PrecisionWindow
)

// String returns the value of zastava.observation.precision.
func (p Precision) String() string {
	if p == PrecisionWindow {
		return "window"
	}
	return "exact"
}

// Provenance records how the observer learnt of a transition and what it may have missed before it.
type Provenance struct {
	Source        Source
	Precision     Precision
	WindowStart   time.Time // with PrecisionWindow: the last time at which it had not happened yet; zero if unknown
	ObservedAt    time.Time // when the observer learnt of it
	MissedRuns    uint32    // complete runs just before it that are known to have been missed
	MissedUnknown bool      // an unknown number of runs may have been missed
}

// PreviousRun is the run that ended before a restart.
type PreviousRun struct {
	ContainerID string
	FinishedAt  time.Time
	ExitCode    uint32
	ExitKnown   bool
	Reason      string
}

// CrashLoop summarizes repeated failed runs of one identity.
type CrashLoop struct {
	Count    uint32        // number of failed runs
	Window   time.Duration // the period in which they were counted
	ExitCode uint32        // the most frequent exit code among them
	Reason   string        // the reason reported with that exit code
}

// Transition is one change of one container. Two observations are the same transition if Container.Engine, Container.ID,
// Kind, KeyTime and Ordinal are equal. A later observation with better details has a higher Revision.
type Transition struct {
	Kind         Kind
	Ordinal      uint32 // number of earlier transitions of this kind in the same run: 0 for the first pause, 1 for the second
	Revision     uint32
	When         time.Time // when it happened; never zero
	Container    *Container
	State        State // after it happened
	Run          Run   // the run it belongs to; zero if no run ever started
	RestartCount uint32
	Previous     *PreviousRun // of KindRestarted
	CrashLoop    *CrashLoop   // of KindCrashLoop and KindCrashLoopEnded
	Health       string       // of KindHealthChanged: the new health; starting, healthy or unhealthy
	Provenance   Provenance
}

// KeyTime returns the time that identifies the transition: the creation time of the container for what happens once in its
// life and if no run ever started, else the start of the run.
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

// Failed reports whether a run ended unsuccessfully. A run with an unknown exit code does not count as failed.
func (r *Run) Failed() bool {
	return r.OOMKilled || (r.ExitKnown && r.ExitCode != 0)
}

// Gap is a period in which the observer may have missed transitions of a runtime.
type Gap struct {
	Engine    string
	Runtime   string // the configured name of the runtime
	Version   string
	Owner     uint32    // uid of the user whose runtime it is; 0 if it is root's
	From      time.Time // the end of complete coverage
	To        time.Time // when coverage was complete again
	Cause     string    // one of the Cause constants
	Coalesced uint64    // number of transitions that are known to have been merged into later ones; 0 if unknown
}

// The causes of a gap.
const (
	CauseListFailed      = "list_failed"      // lists failed for longer than a short run lasts
	CauseStreamLost      = "stream_lost"      // the event stream was interrupted; lists do not show runs that begin and end between them
	CauseObserverDown    = "observer_down"    // the observer itself was not running
	CauseMailboxOverflow = "mailbox_overflow" // notices arrived faster than they were processed, or were processed late
	CauseOutboxFull      = "outbox_full"      // the pipeline refused records for so long that transitions were coalesced
	CauseRemovedUnseen   = "removed_unseen"   // a container was removed and its stop was never observed
)
