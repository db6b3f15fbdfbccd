// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"context"
	"errors"
	"time"

	"github.com/zastava-otel/zastava/internal/tracker"
)

// send delivers the content of the outbox until that is closed and empty, or ctx ends.
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

// deliver has the sink accept a batch, then the checkpoint remember it. The error is that of ctx: the sink did not accept the batch.
func (o *Observer) deliver(ctx context.Context, batch []outboxItem) error {
	items, changes, seen := contents(batch)
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

// contents returns what a batch has for the sink and for the checkpoint. seen is zero if the batch does not say when the runtime was
// seen.
func contents(batch []outboxItem) (items []Item, changes []tracker.Change, seen time.Time) {
	items = make([]Item, 0, len(batch))
	changes = make([]tracker.Change, 0, len(batch))
	for i := range batch {
		b := &batch[i]
		if len(b.change.Transitions) > 0 || b.gap != nil {
			items = append(items, Item{Transitions: b.change.Transitions, Gap: b.gap})
		}
		if b.change.ID != "" {
			changes = append(changes, b.change)
		}
		if !b.seen.IsZero() {
			seen = b.seen
		}
	}
	return items, changes, seen
}
