// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/exporter/exporterhelper"
)

// errPrecedence is retried like the error of any failed attempt.
var errPrecedence = errors.New("another lane that has precedence is behind")

// budget is what the queues of two lanes may hold together: sending_queue::queue_size, in its unit. The first lane may use all of
// it; the second evicts records where both exceed it. It takes effect where both queues are on disk: only then are their sizes known.
type budget struct{ first, second *Lane }

// YieldTo gives first precedence over l: the queues of both share one budget, l evicts records when first needs room, and l does
// not push while first is behind. It is called before either is started.
func (l *Lane) YieldTo(first *Lane) {
	l.budget = &budget{first, l}
	l.eviction.limit = l.budget.excess
	first.yielding = l
}

// evictExcess evicts what exceeds the budget.
func (l *Lane) evictExcess() {
	if n := l.budget.excess(); n > 0 {
		l.eviction.request(n)
	}
}

// used returns the sizes of both queues, or false if they are unknown.
func (b *budget) used() (first, second int64, known bool) {
	first, firstKnown := b.first.backlog.used()
	second, secondKnown := b.second.backlog.used()
	return first, second, firstKnown && secondKnown
}

// excess returns how much the second lane has to evict.
func (b *budget) excess() int64 {
	first, second, known := b.used()
	if !known {
		return 0
	}
	return max(min(first+second-b.first.limit.size, second), 0)
}

// admit refuses records of the second lane that there is no room for. Their source keeps them and offers them later.
func (b *budget) admit(size int64) error {
	first, second, known := b.used()
	if !known || first+second+size <= b.first.limit.size {
		return nil
	}
	return fmt.Errorf("no room for %s beside the %s that wait: %w", b.second.Name, b.first.Name, exporterhelper.ErrQueueIsFull)
}
