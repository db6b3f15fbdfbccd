// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package queuestate

import (
	"context"
	"maps"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"
)

// Watch returns host with storage extensions that call report for each state that a queue reads from, or writes to, its storage.
// A state that cannot be read is not reported. The calls come from the queue's goroutines.
func Watch(host component.Host, report func(State)) component.Host {
	return watchedHost{Host: host, report: report}
}

type watchedHost struct {
	component.Host
	report func(State)
}

func (h watchedHost) GetExtensions() map[component.ID]component.Component {
	out := maps.Clone(h.Host.GetExtensions())
	for id, ext := range out {
		if s, ok := ext.(storage.Extension); ok {
			out[id] = watchedStorage{Extension: s, report: h.report}
		}
	}
	return out
}

type watchedStorage struct {
	storage.Extension
	report func(State)
}

func (s watchedStorage) GetClient(ctx context.Context, kind component.Kind, id component.ID, name string) (storage.Client, error) {
	client, err := s.Extension.GetClient(ctx, kind, id, name)
	if err != nil {
		return nil, err
	}
	return watchedClient{Client: client, report: s.report}, nil
}

type watchedClient struct {
	storage.Client
	report func(State)
}

func (c watchedClient) Get(ctx context.Context, key string) ([]byte, error) {
	value, err := c.Client.Get(ctx, key)
	if err == nil {
		c.inspect(key, value)
	}
	return value, err
}

func (c watchedClient) Batch(ctx context.Context, ops ...*storage.Operation) error {
	err := c.Client.Batch(ctx, ops...)
	for _, op := range ops {
		if err == nil && op.Type == storage.Set {
			c.inspect(op.Key, op.Value)
		}
	}
	return err
}

func (c watchedClient) inspect(key string, value []byte) {
	if key != Key {
		return
	}
	if s, err := Parse(value); err == nil {
		c.report(s)
	}
}
