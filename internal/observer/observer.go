// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package observer watches one container runtime: one loop that lists, receives notices, inspects what changed, compares it through
// the tracker and delivers the transitions.
//
//	stream ─► mailbox ─┐
//	list ──────────────┼─► loop (owns all state) ─► outbox ─► sink, then checkpoint
//	inspections ◄──────┘
//
// What it promises:
//   - The list is the truth. A notice only makes it fresher; whatever a stream loses, the next list finds.
//   - It never stalls the runtime: the goroutine that reads the stream writes to a bounded mailbox and does nothing else, every call
//     has a deadline, and one container that does not answer delays only itself.
//   - State advances only with what the outbox accepted, and the checkpoint only with what the sink accepted. When the outbox is
//     full, the next comparison yields what is still true, and what can only be counted is counted.
//
// It never writes to a runtime and knows no telemetry format.
//
// Start reading at loop.run. Each of the loop's value types has a file: listCycle (list.go), contact (contact.go), streamState (stream.go),
// schedule and rechecks (schedule.go), entry (entry.go), pendingNotices (pending.go), gaps (gap.go), removals (removal.go).
package observer

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/retry"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// maxFaults bounds how many faults of one outage are logged.
const maxFaults = 5

// Observer watches one runtime.
type Observer struct {
	opts       Options
	open       Open
	sink       Sink
	checkpoint Checkpoint // nil if unset: nothing is remembered across restarts
	host       Host
	tel        Telemetry
	log        Log
	health     func(error) // called by the loop's goroutine only

	outbox   *outbox
	reported string   // the error that was last reported to health; empty for none
	faults   []string // of the present outage, those that were logged

	tracked   atomic.Int64
	lastGood  atomic.Int64 // unix ns
	streaming atomic.Bool
}

// New returns an observer, which Run starts. health is called on changes only: with nil when the runtime answers (again), and with an
// error when it stops answering.
func New(opts Options, open Open, sink Sink, cp Checkpoint, host Host, tel Telemetry, log Log, health func(error)) *Observer {
	if opts.OutboxCapacity <= 0 {
		opts.OutboxCapacity = 4096
	}
	if opts.MailboxCapacity <= 0 {
		opts.MailboxCapacity = 4096
	}
	if opts.InspectsAtOnce <= 0 {
		opts.InspectsAtOnce = 8
	}
	if opts.RecheckAfterStop <= 0 {
		opts.RecheckAfterStop = time.Second
	}
	if opts.DrainTimeout <= 0 {
		opts.DrainTimeout = 5 * time.Second
	}
	return &Observer{
		opts: opts, open: open, sink: sink, checkpoint: cp, host: host, tel: tel, log: log, health: health,
		outbox: newOutbox(opts.OutboxCapacity),
	}
}

// Stats returns the present state. It may be called from any goroutine.
func (o *Observer) Stats() Stats {
	s := Stats{Tracked: int(o.tracked.Load()), Outbox: o.outbox.len(), Streaming: o.streaming.Load()}
	if ns := o.lastGood.Load(); ns != 0 {
		s.LastGoodList = time.Unix(0, ns)
	}
	return s
}

// Run observes until ctx ends, then waits at most DrainTimeout for the sink to accept the content of the outbox. It returns when all
// its goroutines have ended.
func (o *Observer) Run(ctx context.Context) {
	deliver, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { o.send(deliver) })

	o.observe(ctx)

	o.outbox.close()
	timer := time.AfterFunc(o.opts.DrainTimeout, stop)
	wg.Wait()
	timer.Stop()
}

// observe connects, and observes until ctx ends. It retries without limit to reach a runtime that does not answer yet.
func (o *Observer) observe(ctx context.Context) {
	tr := tracker.New(o.opts.Tracker)
	remembered := o.remember(ctx, tr)
	wait := retry.NewBackOff(o.opts.Backoff)
	for ctx.Err() == nil {
		rt, info, err := o.connect(ctx)
		if err != nil {
			o.reportHealth(fmt.Errorf("connect to runtime %q: %w", o.opts.Name, err))
			if !retry.Sleep(ctx, wait.NextBackOff()) {
				return
			}
			continue
		}
		o.log.Info("observing a runtime", "runtime", o.opts.Name, "engine", info.Engine, "version", info.Version, "api_version", info.APIVersion)
		l := newLoop(o, rt, info, tr, remembered)
		l.run(ctx)
		if err := rt.Close(); err != nil {
			o.log.Warn("closing the connection to the runtime failed", "runtime", o.opts.Name, "error", err)
		}
		return
	}
}

func (o *Observer) connect(ctx context.Context) (runtime.Runtime, runtime.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, o.opts.Timeout)
	defer cancel()
	return o.open(ctx)
}

// remember restores the tracker from the checkpoint and returns when the runtime was last seen; zero if that is unknown.
func (o *Observer) remember(ctx context.Context, tr *tracker.Tracker) time.Time {
	if o.checkpoint == nil {
		return time.Time{}
	}
	r, err := o.checkpoint.Load(ctx)
	if err != nil {
		o.tel.CheckpointFailed()
		o.log.Warn("the checkpoint cannot be read; starting with an inventory", "runtime", o.opts.Name, "error", err)
	}
	for id, k := range r.Containers {
		tr.Restore(id, k)
	}
	if r.Seen.IsZero() {
		return r.Seen
	}
	o.log.Info("restored the checkpoint", "runtime", o.opts.Name, "containers", len(r.Containers), "seen", r.Seen)
	if r.BootID != "" && o.host.BootID != "" && r.BootID != o.host.BootID {
		seen := tracker.Observation{At: time.Now(), Since: r.Seen, Source: container.SourceCheckpoint}
		for _, c := range tr.Rebooted(o.host.BootTime, seen) {
			if o.outbox.offer(outboxItem{change: c}) {
				tr.Apply(&c)
			}
		}
	}
	return r.Seen
}

// reportHealth reports a change of health: err is nil if the runtime answers. Each fault of an outage is logged once, and no more than
// maxFaults of them, because an error may contain numbers that are never the same.
func (o *Observer) reportHealth(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == o.reported {
		return
	}
	o.reported = text
	o.health(err)
	switch {
	case err == nil:
		o.faults = nil
	case len(o.faults) < maxFaults && !slices.Contains(o.faults, text):
		o.faults = append(o.faults, text)
		o.log.Warn("the runtime cannot be observed; trying again", "runtime", o.opts.Name, "error", err)
	}
}
