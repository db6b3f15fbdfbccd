// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavastorageextension

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/extension/zastavastorageextension/internal/journal"
	"github.com/zastava-otel/zastava/extension/zastavastorageextension/internal/metadata"
)

// maxBeside is the most directories that one component may have, because other processes have those before.
const maxBeside = 9

// The values of the fault attribute.
const (
	faultDamaged   = "damaged"
	faultTorn      = "torn"
	faultAside     = "aside"
	faultLocked    = "locked"
	faultUnwritten = "unwritten"
)

type store struct {
	config    *Config
	logger    *zap.Logger
	telemetry *metadata.TelemetryBuilder

	mu      sync.Mutex
	clients map[*client]struct{}
}

var _ storage.Extension = (*store)(nil)

// Start registers the metrics. Directories are made when a component asks for its own.
func (s *store) Start(context.Context, component.Host) error {
	ints := func(of func(*client) int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			for c := range s.clients {
				o.Observe(of(c), metric.WithAttributes(attribute.String("client", c.name)))
			}
			return nil
		}
	}
	err := errors.Join(
		s.telemetry.RegisterExtensionZastavastorageFileBytesCallback(ints(func(c *client) int64 { return c.journal.Size().Files })),
		s.telemetry.RegisterExtensionZastavastorageLiveBytesCallback(ints(func(c *client) int64 { return c.journal.Size().Live })),
		s.telemetry.RegisterExtensionZastavastoragePendingChangesCallback(ints(func(c *client) int64 { return int64(c.journal.Pending()) })),
		s.telemetry.RegisterExtensionZastavastorageFreeBytesCallback(func(_ context.Context, o metric.Int64Observer) error {
			if free, ok := freeBytes(s.config.Directory); ok {
				o.Observe(free)
			}
			return nil
		}),
	)
	if err != nil {
		return fmt.Errorf("register the extension's own metrics: %w", err)
	}
	return nil
}

func (s *store) Shutdown(context.Context) error {
	s.telemetry.Shutdown()
	return nil
}

// GetClient opens the journal of a component.
func (s *store) GetClient(ctx context.Context, kind component.Kind, id component.ID, name string) (storage.Client, error) {
	client := &client{store: s, name: clientName(kind, id, name)}
	client.logger = s.logger.With(zap.String("client", client.name))
	opened, err := s.open(ctx, kind, client.name)
	if err != nil {
		return nil, fmt.Errorf("open the storage of %s: %w", client.name, err)
	}
	client.journal = opened
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[client] = struct{}{}
	return client, nil
}

func (s *store) forget(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, c)
}

func (s *store) count(client string, n int64, fault string) {
	if n > 0 {
		s.telemetry.ExtensionZastavastorageFaults.Add(context.Background(), n,
			metric.WithAttributes(attribute.String("client", client), attribute.String("fault", fault)))
	}
}

// open gives the component's journal, or one beside it while another process has that. What an earlier process left beside
// it, for that reason, is taken over.
func (s *store) open(ctx context.Context, kind component.Kind, name string) (*journal.Journal, error) {
	opened, at, err := s.firstFree(ctx, kind, name)
	if err != nil {
		return nil, err
	}
	for n := at + 1; n <= maxBeside && kind == component.KindExporter; n++ {
		if _, err := os.Stat(s.directory(name, n)); err != nil {
			continue
		}
		if err := s.takeOver(opened, name, n); err != nil {
			s.logger.Error("Items of an earlier process stay where they are until the next start",
				zap.String("directory", s.directory(name, n)), zap.Error(err))
		}
	}
	return opened, nil
}

func (s *store) firstFree(ctx context.Context, kind component.Kind, name string) (*journal.Journal, int, error) {
	deadline := time.Now().Add(s.config.LockTimeout)
	for n := 1; ; {
		opened, err := s.openAt(kind, name, n)
		if err == nil {
			return opened, n, nil
		}
		if !errors.Is(err, journal.ErrLocked) {
			return nil, 0, err
		}
		if time.Now().Before(deadline) {
			select {
			case <-ctx.Done():
				return nil, 0, ctx.Err()
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		s.count(name, 1, faultLocked)
		s.logger.Error("Another process has the storage; beginning another beside it. Give each collector a directory of its own",
			zap.String("directory", s.directory(name, n)))
		if n++; n > maxBeside {
			return nil, 0, err
		}
	}
}

func (s *store) openAt(kind component.Kind, name string, n int) (*journal.Journal, error) {
	options := journal.Options{Directory: s.directory(name, n), Sync: s.config.FSync}
	if kind == component.KindExporter {
		options.Lazy = queueState
	}
	opened, err := journal.Open(options)
	if err != nil {
		return nil, err
	}
	if d := opened.Damage(); d.Bytes > 0 || d.Transactions > 0 || d.Aside > 0 {
		s.count(name, d.Transactions, faultDamaged)
		s.count(name, int64(d.Aside), faultAside)
		s.logger.Error("What is on disk is damaged; going on without what cannot be read",
			zap.String("directory", options.Directory), zap.Int64("transactions", d.Transactions), zap.Int64("bytes", d.Bytes),
			zap.Int("files_set_aside", d.Aside))
	}
	if opened.Damage().Torn {
		s.count(name, 1, faultTorn)
		s.logger.Warn("The last transaction is incomplete, as a crash leaves it; it was never acknowledged, unless someone cut the file",
			zap.String("directory", options.Directory))
	}
	return opened, nil
}

// takeOver moves the items of a queue into another and removes the directory.
func (s *store) takeOver(into *journal.Journal, name string, n int) error {
	from, err := s.openAt(component.KindExporter, name, n)
	if err != nil {
		return err
	}
	moved, err := moveItems(into, from)
	if err := errors.Join(err, from.Close()); err != nil {
		return err
	}
	s.logger.Info("Took over the items that an earlier process left beside the queue",
		zap.String("directory", s.directory(name, n)), zap.Int("items", moved))
	return os.RemoveAll(s.directory(name, n))
}

func (s *store) directory(name string, n int) string {
	if n > 1 {
		name += "." + strconv.Itoa(n) // no client's own name has a dot
	}
	return filepath.Join(s.config.Directory, name)
}

// clientName is a component's storage as a file name: its kind, id and the name it gave the storage.
func clientName(kind component.Kind, id component.ID, name string) string {
	parts := []string{strings.ToLower(kind.String()), id.Type().String()}
	for _, p := range []string{id.Name(), name} {
		parts = append(parts, safe(p))
	}
	return strings.TrimRight(strings.Join(parts, "_"), "_")
}

// safe writes what is no letter, digit or hyphen as ~ and its number, so that different names stay different.
func safe(name string) string {
	var out strings.Builder
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-':
			out.WriteRune(r)
		default:
			fmt.Fprintf(&out, "~%04X", r)
		}
	}
	return out.String()
}
