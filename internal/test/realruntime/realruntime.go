// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package realruntime starts a real, private runtime for one test, skips the test where none can run, and wipes the runtime at the
// test's end. Containerd starts a containerd; package engine uses Start for dockerd and Podman.
//
// On anything but Linux the package is empty.
package realruntime

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/zastava-otel/zastava/internal/privateruntime"
)

// BinDirsVariable lists directories, as PATH does, with another containerd (and ctr, shim, runc) for Containerd.
const BinDirsVariable = "ZASTAVA_TEST_CONTAINERD_BIN"

// limit is for a runtime to start, and to be wiped.
const limit = 2 * time.Minute

// Runtime is a private runtime that was started.
type Runtime interface {
	comparable
	LogTail(n int) string
	Wipe(ctx context.Context) error
}

// Kind is a kind of runtime.
type Kind[R Runtime] struct {
	Name string // of the daemon, for messages
	// Require names an environment variable that, when it is not empty, makes a test fail where it would be skipped. CI sets it.
	Require string
	// Start starts a runtime in dir. Its error wraps privateruntime.ErrUnavailable where this machine lacks something.
	Start func(ctx context.Context, dir string) (R, error)
	// WipeDir removes what a failed Start has left in dir.
	WipeDir func(ctx context.Context, dir string) error
}

// Start starts a runtime for a test and wipes it at the test's end. It skips the test, naming what is missing, where none can run,
// and under -short. It shows the end of the daemon's log when the test has failed.
func Start[R Runtime](tb testing.TB, kind Kind[R]) R {
	tb.Helper()
	if testing.Short() {
		tb.Skipf("-short: this test needs a real %s", kind.Name)
	}
	dir, err := os.MkdirTemp("", "zst-") //nolint:usetesting // a test's own directory has too long a name for a socket
	if err != nil {
		tb.Fatalf("make a directory for %s: %v", kind.Name, err)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), limit)
	defer cancel()
	runtime, err := kind.Start(ctx, dir)
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit) // the test's own context has ended
		defer cancel()
		var unset R
		var err error
		if runtime == unset {
			err = kind.WipeDir(ctx, dir)
		} else {
			if tb.Failed() {
				tb.Logf("the log of %s ends with:\n%s", kind.Name, runtime.LogTail(40))
			}
			err = runtime.Wipe(ctx)
		}
		if err != nil {
			tb.Errorf("%v", err)
		}
	})
	if errors.Is(err, privateruntime.ErrUnavailable) && os.Getenv(kind.Require) == "" {
		tb.Skipf("%v", err)
	}
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return runtime
}

// Containerd starts a containerd for a test; see Start. It searches binDirs for the programs, then the directories in
// BinDirsVariable, then PATH.
func Containerd(tb testing.TB, binDirs ...string) *privateruntime.Containerd {
	tb.Helper()
	return Start(tb, Kind[*privateruntime.Containerd]{
		Name: "containerd", Require: "ZASTAVA_TEST_REQUIRE_RUNTIME", WipeDir: privateruntime.WipeDir,
		Start: func(ctx context.Context, dir string) (*privateruntime.Containerd, error) {
			binDirs := append(binDirs, filepath.SplitList(os.Getenv(BinDirsVariable))...)
			return privateruntime.Start(ctx, privateruntime.Options{Dir: dir, BinDirs: binDirs})
		},
	})
}
