// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/zastava-otel/zastava/internal/observer"
)

// disk outlives the process.
type disk struct {
	mu    sync.Mutex
	data  map[string][]byte
	fails bool
	saved time.Time // when a checkpoint was first written that has the time at which the runtime was seen
}

func (d *disk) do(o *storage.Operation) {
	switch o.Type {
	case storage.Get:
		o.Value = d.data[o.Key]
	case storage.Set:
		d.data[o.Key] = slices.Clone(o.Value)
	case storage.Delete:
		delete(d.data, o.Key)
	}
}

func (d *disk) setFails(fails bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fails = fails
}

// death says where the process dies.
type death int

const (
	alive         death = iota
	beforeDeliver       // while transitions are in the outbox
	afterDeliver        // when they are accepted and not in the checkpoint
	beforeSave
	afterSave
	dead
)

// process is one life of the collector: an observer, its pipeline and its storage client.
type process struct {
	mu     sync.Mutex
	death  death
	block  chan struct{}
	world  *world
	cancel context.CancelFunc
	done   chan struct{}
	obs    *observer.Observer
}

// dies reports whether the process is dead, or dies here.
func (p *process) dies(here death) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.death == here {
		p.death = dead
	}
	return p.death == dead
}

// setBlocked has the sink accept nothing until it is unblocked.
func (p *process) setBlocked(blocked bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case blocked && p.block == nil:
		p.block = make(chan struct{})
	case !blocked && p.block != nil:
		close(p.block)
		p.block = nil
	}
}

// dieAt has the process die when it comes to a step.
func (p *process) dieAt(step death) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.death = step
}

var errDead = errors.New("the process is dead")

func (p *process) Deliver(ctx context.Context, items []observer.Item) error {
	if p.dies(beforeDeliver) {
		return errDead
	}
	p.mu.Lock()
	block := p.block
	p.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if p.dies(dead) {
		return errDead
	}
	p.world.deliver(items)
	if p.dies(afterDeliver) {
		return errDead
	}
	return nil
}

func (p *process) Get(_ context.Context, key string) ([]byte, error) {
	p.world.disk.mu.Lock()
	defer p.world.disk.mu.Unlock()
	return p.world.disk.data[key], nil
}

func (p *process) Set(ctx context.Context, key string, value []byte) error {
	return p.Batch(ctx, storage.SetOperation(key, value))
}

func (p *process) Delete(ctx context.Context, key string) error {
	return p.Batch(ctx, storage.DeleteOperation(key))
}

func (p *process) Batch(_ context.Context, ops ...*storage.Operation) error {
	writes := slices.ContainsFunc(ops, func(o *storage.Operation) bool { return o.Type != storage.Get })
	if writes && p.dies(beforeSave) {
		return errDead
	}
	d := p.world.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if writes && d.fails {
		return errors.New("the disk fails")
	}
	for _, o := range ops {
		d.do(o)
	}
	if d.saved.IsZero() && slices.ContainsFunc(ops, savesTime) {
		d.saved = time.Now()
	}
	if writes && p.dies(afterSave) {
		return errDead
	}
	return nil
}

// savesTime reports whether an operation saves when the runtime was seen.
func savesTime(o *storage.Operation) bool {
	return o.Type == storage.Set && o.Key == "meta" && !bytes.Contains(o.Value, []byte(`"seen":0,`))
}

func (p *process) Close(context.Context) error { return nil }
