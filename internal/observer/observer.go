// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package observer watches one container runtime: one loop that lists, takes notices, inspects what changed, compares
// through the tracker and hands the transitions on.
//
//	stream ─► mailbox ─┐
//	list ──────────────┼─► loop (owns all state) ─► outbox ─► sink, then checkpoint
//	inspects ◄─────────┘
//
// What it promises:
//   - The list is the truth. A notice only makes it fresher; whatever a stream loses, the next list finds.
//   - It never stalls the runtime: the goroutine that reads the stream writes to a bounded mailbox and does nothing else,
//     every call has a deadline, and one container that does not answer delays only itself.
//   - State advances only with what the outbox took, and the checkpoint only with what the sink accepted. When the outbox
//     is full, nothing is thrown away: the next comparison yields what is still true, and what was folded is counted.
//
// It never writes to a runtime and knows no telemetry format.
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

// maxFaults bounds how many faults of one outage the log is told.
const maxFaults = 5

// Observer watches one runtime.
type Observer struct {
	opts       Options
	open       Open
	sink       Sink
	checkpoint Checkpoint // nil: nothing is remembered across restarts
	host       Host
	tel        Telemetry
	log        Log
	health     func(error) // called by the loop's goroutine only

	outbox *outbox
	told   string   // what health was told last
	faults []string // of the outage that goes on, those that the log has

	tracked   atomic.Int64
	lastGood  atomic.Int64 // unix ns
	streaming atomic.Bool
}

// New makes an observer. health is called with nil when the runtime answers (again) and with an error when it stops to:
// on changes only.
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

// Stats tells how things stand.
func (o *Observer) Stats() Stats {
	s := Stats{Tracked: int(o.tracked.Load()), Outbox: o.outbox.len(), Streaming: o.streaming.Load()}
	if ns := o.lastGood.Load(); ns != 0 {
		s.LastGoodList = time.Unix(0, ns)
	}
	return s
}

// Run observes until ctx ends, then gives what waits in the outbox DrainTimeout to be accepted, and returns when every
// goroutine of it has ended.
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

// observe connects, and observes for as long as ctx lasts. A runtime that is not there yet is tried for ever.
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

// remember restores the tracker from the checkpoint and tells when the runtime was last seen; zero: never.
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
		look := tracker.Observation{At: time.Now(), Since: r.Seen, Source: container.SourceCheckpoint}
		for _, c := range tr.Rebooted(o.host.BootTime, look) {
			if o.outbox.offer(outboxItem{change: c}) {
				tr.Apply(&c)
			}
		}
	}
	return r.Seen
}

// report tells the health when it changes. The log has each fault of an outage once, and no more than a few: an error may have
// numbers in it that are never the same.
func (o *Observer) reportHealth(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == o.told {
		return
	}
	o.told = text
	o.health(err)
	switch {
	case err == nil:
		o.faults = nil
	case len(o.faults) < maxFaults && !slices.Contains(o.faults, text):
		o.faults = append(o.faults, text)
		o.log.Warn("the runtime cannot be observed; trying again", "runtime", o.opts.Name, "error", err)
	}
}
