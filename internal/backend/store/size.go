// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Cap bounds the size of the database's files: the database and its write-ahead log together.
type Cap struct {
	Bytes  int64 // at least MinCap; 0 = without limit
	Refuse bool  // what does not fit is refused with ErrFull; otherwise what was received first is removed
}

// MinCap is the smallest cap, in bytes. A quarter of it is the log, which must hold the largest transaction: one batch of 1 MiB with the
// pages of the indexes that it changes, some 8 MiB.
const MinCap = 64 << 20

const (
	maxLog = 128 << 20 // of a cap; holds the eight batches of 1 MiB that may share a transaction
	// roomPerByte and leastRoom are the room that is made for what is stored, for its indexes and derived state.
	roomPerByte = 3
	leastRoom   = 4 << 20
)

// ErrFull means that the database has its largest size.
var ErrFull = errors.New("the database has its largest size")

// space keeps the files below their cap. Its methods are called with Store.writing held.
type space struct {
	cap      Cap
	pageSize int64
	maxPages int64 // of the database
	log      int64 // bytes that the log may have before a transaction
	shares   bool  // whether several batches may share a transaction
	evicted  atomic.Int64
}

// limitSize makes SQLite keep the database below the cap: beyond, a transaction fails as on a full disk. It shrinks a file that is larger.
func (s *Store) limitSize(ctx context.Context, c Cap) error {
	if c.Bytes == 0 {
		return nil
	}
	log := min(c.Bytes/4, maxLog)
	s.space = &space{cap: c, log: log / 2, shares: log == maxLog}
	var err error
	if s.space.pageSize, err = s.pragma(ctx, "page_size"); err != nil {
		return err
	}
	const sharedMemory = 256 << 10 // the index of the log
	s.space.maxPages = (c.Bytes - log - sharedMemory) / s.space.pageSize
	if err := s.shrink(ctx); err != nil {
		return fmt.Errorf("shrink %s to its largest size: %w", s.path, err)
	}
	for name, value := range map[string]int64{
		"max_page_count": s.space.maxPages, "wal_autocheckpoint": log / 4 / s.space.pageSize, "journal_size_limit": log / 2,
	} {
		if _, err := s.pragma(ctx, fmt.Sprintf("%s = %d", name, value)); err != nil {
			return err
		}
	}
	return nil
}

// shrink makes a file that is larger than its cap smaller. With Cap.Refuse it removes nothing, and leaves a file that is full.
func (s *Store) shrink(ctx context.Context) error {
	pages, err := s.pragma(ctx, "page_count")
	if err != nil || pages <= s.space.maxPages {
		return err
	}
	if err := s.makeRoom(ctx, 0); err != nil {
		if errors.Is(err, ErrFull) {
			return nil
		}
		return err
	}
	// In a file, because in memory the copy would be as large as the database.
	for _, text := range []string{"PRAGMA temp_store = 1", "VACUUM", "PRAGMA temp_store = 2"} {
		if _, err := s.conn.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	return s.emptyLog(ctx)
}

func (s *Store) pragma(ctx context.Context, text string) (int64, error) {
	var v int64
	if err := s.conn.QueryRowContext(ctx, "PRAGMA "+text).Scan(&v); err != nil {
		return 0, fmt.Errorf("PRAGMA %s: %w", text, err)
	}
	return v, nil
}

// Size returns the bytes of the database's files: the database, its log, and the index of the log.
func (s *Store) Size() int64 {
	var n int64
	for _, suffix := range []string{"", "-wal", "-shm"} {
		n += fileSize(s.path + suffix)
	}
	return n
}

func fileSize(name string) int64 {
	info, err := os.Stat(name)
	if err != nil {
		return 0 // not there
	}
	return info.Size()
}

// Evicted returns how many events and facts were removed because the database had its largest size.
func (s *Store) Evicted() int64 {
	if s.space == nil {
		return 0
	}
	return s.space.evicted.Load()
}

// makeRoom makes room for size bytes that are about to be stored. Errors: ErrFull, or a failure of the database.
func (s *Store) makeRoom(ctx context.Context, size int64) error {
	if s.space == nil || s.conn == nil {
		return nil // the transaction reports that it is closed
	}
	ctx = context.WithoutCancel(ctx)
	want := size*roomPerByte + leastRoom
	for {
		if err := s.emptyLog(ctx); err != nil {
			return err
		}
		free, err := s.free(ctx)
		if err != nil || free >= want {
			return err
		}
		if s.space.cap.Refuse {
			return ErrFull
		}
		want = max(want, s.space.cap.Bytes/32) // once it removes, then enough for a while
		removed, err := s.evict(ctx)
		if err != nil {
			return fmt.Errorf("remove what was received first: %w", err)
		}
		if removed == 0 {
			return ErrFull
		}
	}
}

// free returns the bytes that the database can still store.
func (s *Store) free(ctx context.Context) (int64, error) {
	pages, err := s.pragma(ctx, "page_count")
	if err != nil {
		return 0, err
	}
	unused, err := s.pragma(ctx, "freelist_count")
	return (s.space.maxPages - pages + unused) * s.space.pageSize, err
}

// emptyLog copies the log into the database when it is near its share of the cap. A long query keeps it from that; then there is no
// room until the query ends.
func (s *Store) emptyLog(ctx context.Context) error {
	name := s.path + "-wal"
	if fileSize(name) <= s.space.log {
		return nil
	}
	// Shorter than the timeout of other statements: all batches wait meanwhile.
	for _, text := range []string{"PRAGMA busy_timeout = 500", "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA busy_timeout = 10000"} {
		if err := s.drain(ctx, text); err != nil {
			return fmt.Errorf("empty the log: %w", err)
		}
	}
	if fileSize(name) > s.space.log {
		return ErrFull
	}
	return nil
}

// drain executes a pragma that returns rows. The result says whether the log was busy; the size of the file says the same.
func (s *Store) drain(ctx context.Context, text string) error {
	rows, err := s.conn.QueryContext(ctx, text)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
	}
	return rows.Err()
}

// asFull returns ErrFull for a transaction that failed because the database has its largest size.
func (s *Store) asFull(err error) error {
	var failed *sqlite.Error
	if s.space != nil && errors.As(err, &failed) && failed.Code()&0xff == sqlite3.SQLITE_FULL {
		return errors.Join(ErrFull, err)
	}
	return err
}
