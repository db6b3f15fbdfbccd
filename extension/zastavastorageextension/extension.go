// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavastorageextension

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
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
	"github.com/zastava-otel/zastava/internal/fileaccess"
)

// maxDirectories is the maximum number of directories of one component if other processes use the first ones.
const maxDirectories = 9

// The values of the fault attribute.
const (
	faultDamaged   = "damaged"
	faultTorn      = "torn"
	faultAside     = "aside"
	faultLocked    = "locked"
	faultUnwritten = "unwritten"
	faultForeign   = string(journal.FaultForeign)
	faultOdd       = string(journal.FaultOdd)
	faultRemoved   = string(journal.FaultRemoved)
)

// checkInterval is how long files may be missing before that is noticed if nothing is written; a check takes some microseconds.
const checkInterval = 5 * time.Second

type store struct {
	config    *Config
	logger    *zap.Logger
	telemetry *metadata.TelemetryBuilder

	mu      sync.Mutex
	clients map[*client]struct{}

	stop     context.CancelFunc // ends the checks of the files
	checking sync.WaitGroup
}

var _ storage.Extension = (*store)(nil)

// Start checks the directory, registers the metrics and begins to check the files. Directories are created when components ask for
// their storage.
func (s *store) Start(context.Context, component.Host) error {
	if err := fileaccess.CheckDirectory("directory", s.config.Directory); err != nil {
		return err
	}
	if mode, listable := fileaccess.Listable(s.config.Directory); listable {
		s.logger.Warn("Other users can list the storage; run chmod 0700 on the directory, unless something else in it needs these rights",
			zap.String("directory", s.config.Directory), zap.Stringer("mode", mode))
	}
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
		return fmt.Errorf("register the extension's metrics: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.checking.Go(func() { s.checkFiles(ctx) })
	return nil
}

// checkFiles has every journal check its files, until ctx ends.
func (s *store) checkFiles(ctx context.Context) {
	ticker := time.NewTicker(checkInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		s.mu.Lock()
		clients := slices.Collect(maps.Keys(s.clients))
		s.mu.Unlock()
		for _, c := range clients {
			c.check()
		}
	}
}

func (s *store) Shutdown(context.Context) error {
	if s.stop != nil {
		s.stop()
	}
	s.checking.Wait()
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

// open opens the component's journal, or a second one if another process uses the first. It also moves items from the second
// directories of earlier processes.
func (s *store) open(ctx context.Context, kind component.Kind, name string) (*journal.Journal, error) {
	opened, at, err := s.firstFree(ctx, kind, name)
	if err != nil {
		return nil, err
	}
	for n := at + 1; n <= maxDirectories && kind == component.KindExporter; n++ {
		if _, err := os.Stat(s.directory(name, n)); err != nil {
			continue
		}
		if err := s.moveFrom(opened, name, n); err != nil {
			s.logger.Error("Moving the items of a second directory failed; they stay there until the next start",
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
		s.logger.Error("Another process uses the storage; a second directory is used. Configure a separate directory for each collector",
			zap.String("directory", s.directory(name, n)))
		if n++; n > maxDirectories {
			return nil, 0, err
		}
	}
}

func (s *store) openAt(kind component.Kind, name string, n int) (*journal.Journal, error) {
	options := journal.Options{Directory: s.directory(name, n), Owner: name, Sync: s.config.FSync}
	options.Report = s.reporter(name, options.Directory)
	if kind == component.KindExporter {
		options.Lazy = isQueueState
	}
	opened, err := journal.Open(options)
	if err != nil {
		return nil, err
	}
	if d := opened.Damage(); d.Bytes > 0 || d.Transactions > 0 || d.Aside > 0 {
		s.count(name, d.Transactions, faultDamaged)
		s.count(name, int64(d.Aside), faultAside)
		s.logger.Error("The files are damaged; unreadable transactions are skipped",
			zap.String("directory", options.Directory), zap.Int64("transactions", d.Transactions), zap.Int64("bytes", d.Bytes),
			zap.Int("files_set_aside", d.Aside))
	}
	if opened.Damage().Torn {
		s.count(name, 1, faultTorn)
		s.logger.Warn("The last transaction is incomplete, as after a crash; it was never acknowledged, unless someone truncated the file",
			zap.String("directory", options.Directory))
	}
	return opened, nil
}

// reportInterval is how often a kind of fault of one journal is logged at most. All are counted.
const reportInterval = time.Minute

// reporter returns a function that counts and logs the faults of one journal. It must not be called concurrently.
func (s *store) reporter(client, directory string) func(journal.Fault, error) {
	logged := map[journal.Fault]time.Time{}
	return func(fault journal.Fault, err error) {
		s.count(client, 1, string(fault))
		if last, ok := logged[fault]; ok && time.Since(last) < reportInterval {
			return
		}
		logged[fault] = time.Now()
		message := "What has the name of a file of this storage and is not one is set aside"
		if fault == journal.FaultRemoved {
			message = "Files were removed, replaced or truncated while in use; everything that can still be read is written again"
		}
		s.logger.Error(message, zap.String("client", client), zap.String("directory", directory), zap.String("fault", string(fault)), zap.Error(err))
	}
}

// moveFrom moves the items of the nth directory to a journal and removes the directory.
func (s *store) moveFrom(into *journal.Journal, name string, n int) error {
	from, err := s.openAt(component.KindExporter, name, n)
	if err != nil {
		return err
	}
	moved, err := moveItems(into, from)
	if err := errors.Join(err, from.Close()); err != nil {
		return err
	}
	if moved > 0 {
		s.logger.Info("Moved the items of a second directory to the queue",
			zap.String("directory", s.directory(name, n)), zap.Int("items", moved))
	}
	return journal.Remove(s.directory(name, n))
}

func (s *store) directory(name string, n int) string {
	if n > 1 {
		name += "." + strconv.Itoa(n) // names of clients contain no dot
	}
	return filepath.Join(s.config.Directory, name)
}

// clientName returns the directory name of a component's storage: its kind, its id and the name of the storage.
func clientName(kind component.Kind, id component.ID, name string) string {
	parts := []string{strings.ToLower(kind.String()), id.Type().String()}
	for _, p := range []string{id.Name(), name} {
		parts = append(parts, safe(p))
	}
	return strings.TrimRight(strings.Join(parts, "_"), "_")
}

// safe replaces everything but letters, digits and hyphens by ~ and the code point, so that different names stay different.
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
