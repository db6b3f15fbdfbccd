// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package docker_test

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

// witness reads the engine's events independently of the observer, and keeps the actions of each container in order.
type witness struct {
	mu      sync.Mutex
	actions map[string][]string
}

// newWitness follows the events until the test or the engine ends.
func newWitness(t *testing.T, h host) *witness {
	t.Helper()
	w := &witness{actions: map[string][]string{}}
	ctx, cancel := context.WithCancel(t.Context())
	stream := h.Client().Events(ctx, client.EventsListOptions{
		Since: strconv.FormatInt(time.Now().Add(-time.Minute).Unix(), 10), Filters: make(client.Filters).Add("type", "container"),
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case m := <-stream.Messages:
				w.mu.Lock()
				w.actions[m.Actor.ID] = append(w.actions[m.Actor.ID], string(m.Action))
				w.mu.Unlock()
			case <-stream.Err:
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return w
}

// count returns how often the engine reported an action of a container.
func (w *witness) count(id, action string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, a := range w.actions[id] {
		if a == action {
			n++
		}
	}
	return n
}

// before reports whether the engine reported one action of a container before another.
func (w *witness) before(id, one, other string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	first, second := slices.Index(w.actions[id], one), slices.Index(w.actions[id], other)
	return first >= 0 && second >= 0 && first < second
}
