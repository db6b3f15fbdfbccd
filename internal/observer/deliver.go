// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"context"
	"errors"
	"time"

	"github.com/zastava-otel/zastava/internal/tracker"
)

// send delivers what the outbox holds until it is closed and empty, or ctx ends.
func (o *Observer) send(ctx context.Context) {
	for {
		batch := o.outbox.take()
		if len(batch) == 0 {
			return
		}
		if err := o.deliver(ctx, batch); err != nil {
			if !errors.Is(err, context.Canceled) {
				o.log.Warn("delivery ended", "runtime", o.opts.Name, "error", err)
			}
			o.outbox.abandon()
			return
		}
		o.outbox.done(batch)
	}
}

func (o *Observer) deliver(ctx context.Context, batch []outboxItem) error {
	items := make([]Item, 0, len(batch))
	changes := make([]tracker.Change, 0, len(batch))
	var seen time.Time
	for i := range batch {
		e := &batch[i]
		if len(e.change.Transitions) > 0 || e.gap != nil {
			items = append(items, Item{Transitions: e.change.Transitions, Gap: e.gap})
		}
		if e.change.ID != "" {
			changes = append(changes, e.change)
		}
		if !e.seen.IsZero() {
			seen = e.seen
		}
	}
	if len(items) > 0 {
		if err := o.sink.Deliver(ctx, items); err != nil {
			return err
		}
	}
	for i := range items {
		for j := range items[i].Transitions {
			o.tel.Transitions(items[i].Transitions[j].Kind, 1)
		}
	}
	if o.checkpoint == nil || (len(changes) == 0 && seen.IsZero()) {
		return nil
	}
	if err := o.checkpoint.Save(ctx, changes, seen); err != nil {
		o.tel.CheckpointFailed()
		o.log.Warn("the checkpoint was not written; after a restart these changes are reported again with the same ids",
			"runtime", o.opts.Name, "changes", len(changes), "error", err)
	}
	return nil
}
