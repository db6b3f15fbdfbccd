// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"container/heap"
	"time"
)

// queue has runs in the order in which they are due. A run is in one queue at most.
type queue struct{ heap byDue }

func (q *queue) push(t *tracked, due time.Time) {
	t.due = due
	heap.Push(&q.heap, t)
}

func (q *queue) pop() *tracked {
	t, _ := heap.Pop(&q.heap).(*tracked)
	return t
}

// remove removes t, if it is in this queue.
func (q *queue) remove(t *tracked) {
	if i := t.index - 1; i >= 0 && i < len(q.heap) && q.heap[i] == t {
		heap.Remove(&q.heap, i)
	}
}

type byDue []*tracked

func (b byDue) Len() int           { return len(b) }
func (b byDue) Less(i, j int) bool { return b[i].due.Before(b[j].due) }

func (b byDue) Swap(i, j int) {
	b[i], b[j] = b[j], b[i]
	b[i].index, b[j].index = i+1, j+1
}

func (b *byDue) Push(x any) {
	t, ok := x.(*tracked)
	if !ok {
		return
	}
	*b = append(*b, t)
	t.index = len(*b)
}

func (b *byDue) Pop() any {
	last := len(*b) - 1
	t := (*b)[last]
	(*b)[last] = nil
	*b = (*b)[:last]
	t.index = 0
	return t
}
