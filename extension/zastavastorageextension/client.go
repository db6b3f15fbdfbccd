// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavastorageextension

import (
	"context"
	"errors"
	"slices"
	"sync"

	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/extension/zastavastorageextension/internal/journal"
)

// client implements the collector's storage.Client on the journal of one component.
type client struct {
	store   *store
	name    string
	journal *journal.Journal
	logger  *zap.Logger

	mu      sync.Mutex
	failing bool  // the disk refused the last change
	lost    int64 // lost values of the journal that were reported
}

var _ storage.Client = (*client)(nil)

func (c *client) Get(ctx context.Context, key string) ([]byte, error) {
	op := storage.GetOperation(key)
	err := c.Batch(ctx, op)
	return op.Value, err
}

func (c *client) Set(ctx context.Context, key string, value []byte) error {
	return c.Batch(ctx, storage.SetOperation(key, value))
}

func (c *client) Delete(ctx context.Context, key string) error {
	return c.Batch(ctx, storage.DeleteOperation(key))
}

// Batch executes ops in order. It applies all changes or none.
func (c *client) Batch(_ context.Context, ops ...*storage.Operation) error {
	var changes []journal.Change
	for i, op := range ops {
		switch op.Type {
		case storage.Set:
			value := op.Value
			if value == nil {
				value = []byte{} // nil deletes
			}
			changes = append(changes, journal.Change{Key: op.Key, Value: value})
		case storage.Delete:
			changes = append(changes, journal.Change{Key: op.Key})
		case storage.Get:
			value, set := written(ops[:i], op.Key)
			if !set {
				var err error
				if value, err = c.journal.Get(op.Key); err != nil {
					return err
				}
			}
			op.Value = value
		default:
			return errors.New("the type of a storage operation is not get, set or delete")
		}
	}
	err := c.journal.Batch(changes...)
	c.report(len(changes) > 0, err)
	return err
}

// written returns the value that earlier operations of the batch set; set is false if none changed the key.
func written(before []*storage.Operation, key string) (value []byte, set bool) {
	for _, op := range slices.Backward(before) {
		if op.Key == key && op.Type != storage.Get {
			if op.Type == storage.Delete {
				return nil, true
			}
			return op.Value, true
		}
	}
	return nil, false
}

// report counts faults of the disk. It logs when they begin and when they end.
func (c *client) report(wrote bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if lost := c.journal.Lost(); lost > c.lost {
		c.store.count(c.name, lost-c.lost, faultDamaged)
		c.logger.Error("The files were damaged while in use; items are lost", zap.Int64("items", lost-c.lost))
		c.lost = lost
	}
	pending := c.journal.Pending()
	switch failing := err != nil || pending > 0; {
	case !wrote:
	case failing:
		if err != nil {
			c.store.count(c.name, 1, faultUnwritten)
		}
		if !c.failing {
			c.logger.Error("The disk refuses changes; new items are refused, and stored items are still delivered", zap.Error(err))
		}
		c.failing = true
	case c.failing:
		c.failing = false
		c.logger.Info("The disk accepts changes again")
	}
}

// check has the journal check its files.
func (c *client) check() {
	err := c.journal.Check()
	c.report(err != nil, err)
}

func (c *client) Close(context.Context) error {
	c.store.forget(c)
	return c.journal.Close()
}
