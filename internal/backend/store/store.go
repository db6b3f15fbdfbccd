// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package store keeps runtime events and the state derived from them in one SQLite file. It promises that a batch is on disk,
// with everything derived from it, when Ingest returns; that an event id counts once per revision; and that the derived
// state depends on the set of events alone, not on their order. It refuses to open a file that a newer release wrote.
//
// There is one writer at a time; readers never wait for it (write-ahead log). Nothing is cached outside SQLite.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver, pure Go
)

// readers bounds the connections that queries share. Each may hold a few MiB of page cache.
const readers = 4

// writerOptions are those of the one connection that writes. A log of up to 32 MiB (of 4 KiB pages) is copied into the file an
// eighth as often as with the default, and each page of the indexes, which batches change at random, once instead of many
// times. In return the log grows to that size, and opening after a crash reads as much. The cache holds the pages of a few batches.
const writerOptions = "_txlock=immediate&_pragma=wal_autocheckpoint(8192)&_pragma=cache_size(-32768)"

// Store is an open database. It is safe for concurrent use.
type Store struct {
	path string
	now  func() time.Time
	read *sql.DB

	queueing sync.Mutex
	waiting  []*submission // for the next transaction

	writing sync.Mutex // guards write, conn and its statements
	write   *sql.DB
	conn    *sql.Conn
	stmts   *statements
	space   *space // nil without a limit of the size

	change  sync.Mutex
	changed chan struct{} // closed and replaced after each commit that added events or facts
	news    factNews
}

// Open opens or creates the database at path, without a limit of its size. now is the clock that received events are stamped with.
func Open(ctx context.Context, path string, now func() time.Time) (*Store, error) {
	return OpenCapped(ctx, path, now, Cap{})
}

// OpenCapped is Open with a limit of the files' size. Where what was received first is removed, a file that is larger shrinks.
func OpenCapped(ctx context.Context, path string, now func() time.Time, limit Cap) (_ *Store, err error) {
	// SQLite would create the file readable by all users.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the database (choose a writable place with --db): %w", err)
	}
	if err := file.Close(); err != nil {
		return nil, fmt.Errorf("open the database %s: %w", path, err)
	}
	s := &Store{path: path, now: now, changed: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.write, err = connect(path, 1, writerOptions); err != nil {
		return nil, err
	}
	if s.conn, err = s.write.Conn(ctx); err != nil {
		return nil, fmt.Errorf("open the database %s (is it a SQLite database?): %w", path, err)
	}
	if err := migrate(ctx, s.conn, path); err != nil {
		return nil, err
	}
	if s.stmts, err = prepare(ctx, s.conn); err != nil {
		return nil, fmt.Errorf("prepare the statements for %s: %w", path, err)
	}
	if err := s.limitSize(ctx, limit); err != nil {
		return nil, err
	}
	if s.read, err = connect(path, readers, "_pragma=query_only(1)&_pragma=cache_size(-8192)"); err != nil {
		return nil, err
	}
	return s, nil
}

func connect(path string, conns int, option string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open the database %s: %w", path, err)
	}
	slashed := filepath.ToSlash(abs)
	if !strings.HasPrefix(slashed, "/") {
		slashed = "/" + slashed // file:///C:/…
	}
	// synchronous FULL: a commit is on disk before it returns, also over a power cut. The write-ahead log alone only
	// promises that over a crash of the process.
	dsn := (&url.URL{Scheme: "file", Path: slashed}).String() +
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=temp_store(2)&" + option
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("open the database %s: %w", path, err)
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// Close waits for the writer and closes the file.
func (s *Store) Close() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	var errs []error
	if s.stmts != nil {
		errs = append(errs, s.stmts.close())
		s.stmts = nil
	}
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
		s.conn = nil
	}
	for _, db := range []*sql.DB{s.read, s.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close the database %s: %w", s.path, err)
	}
	return nil
}

// ErrClosed means that the store was closed.
var ErrClosed = errors.New("the store is closed")

// inTransaction runs do as the only writer. The end of ctx does not interrupt it: a batch is stored as a whole or not at all.
func (s *Store) inTransaction(ctx context.Context, do func(context.Context, *statements) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.transact(ctx, do)
}

// transact is inTransaction for a caller that holds s.writing.
func (s *Store) transact(ctx context.Context, do func(context.Context, *statements) error) (err error) {
	if s.conn == nil {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	if _, err := s.stmts.transaction.begin.ExecContext(ctx); err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	defer func() {
		if err != nil {
			_, rollback := s.stmts.transaction.rollback.ExecContext(ctx)
			err = errors.Join(err, rollback)
		}
	}()
	if err := do(ctx, s.stmts); err != nil {
		return err
	}
	if _, err := s.stmts.transaction.commit.ExecContext(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// Changed returns a channel that is closed once events or facts are added after the call. To miss no change, call it before the
// query whose result may change.
func (s *Store) Changed() <-chan struct{} {
	s.change.Lock()
	defer s.change.Unlock()
	return s.changed
}

func (s *Store) announce() {
	s.change.Lock()
	defer s.change.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// Ready reports whether a batch could be stored now: it begins and commits an empty transaction.
func (s *Store) Ready(ctx context.Context) error {
	return s.inTransaction(ctx, func(context.Context, *statements) error { return nil })
}

func fromNanos(ns int64) time.Time { return time.Unix(0, ns).UTC() }
