// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"fmt"

	"go.opentelemetry.io/collector/exporter/exporterhelper"
)

// budget is what the queues of events and facts may have together: sending_queue::queue_size, in its units. Events come first:
// they may have all of it, and facts have to go where both are more. It is known where the queues are on disk.
type budget struct{ events, facts *backlog }

// used is what both have; false: that is not known.
func (b budget) used() (events, facts int64, known bool) {
	e, f := b.events.queued.Load(), b.facts.queued.Load()
	if e == nil || f == nil {
		return 0, 0, false
	}
	return b.events.most.used(*e), b.facts.most.used(*f), true
}

// excess is how much of facts has to go.
func (b budget) excess() int64 {
	events, facts, known := b.used()
	if !known {
		return 0
	}
	return max(min(events+facts-b.events.most.size, facts), 0)
}

// admit refuses facts of a size that there is no room for: the source still has them, and tells them later.
func (b budget) admit(size int64) error {
	events, facts, known := b.used()
	if !known || events+facts+size <= b.events.most.size {
		return nil
	}
	return fmt.Errorf("no room for facts beside the events that wait: %w", exporterhelper.ErrQueueIsFull)
}
