// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// BinDirsVariable lists directories with another containerd (and ctr, shim,
// runc) for the tests, as PATH does.
const BinDirsVariable = "ZASTAVA_TEST_CONTAINERD_BIN"

// RequireVariable makes ForTest fail where it would skip, when it is
// not empty: for a CI job whose point is the real runtime.
const RequireVariable = "ZASTAVA_TEST_REQUIRE_RUNTIME"

// TB is the part of testing.TB that ForTest uses; declared here so that
// programs can use this package without linking testing.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Cleanup(func())
	Context() context.Context
	Failed() bool
}

// ForTest starts a containerd for a test and wipes it at the test's end. It
// skips the test, naming what is missing, where none can run. The daemon's
// log is shown when the test failed. The programs are looked for in binDirs,
// then in what BinDirsVariable lists, then on PATH.
func ForTest(tb TB, binDirs ...string) *Containerd {
	tb.Helper()
	// Not tb.TempDir: a test's name in the path makes it too long for a socket.
	dir, err := os.MkdirTemp("", "zst-")
	if err != nil {
		tb.Fatalf("make a directory for containerd: %v", err)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), 2*time.Minute)
	defer cancel()
	c, err := Start(ctx, Options{Dir: dir, BinDirs: append(binDirs, filepath.SplitList(os.Getenv(BinDirsVariable))...)})
	tb.Cleanup(func() {
		// The test's own context has ended by now.
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if c == nil {
			err = WipeDir(ctx, dir)
		} else {
			if tb.Failed() {
				tb.Logf("containerd's log ends with:\n%s", c.LogTail(40))
			}
			err = c.Wipe(ctx)
		}
		if err != nil {
			tb.Errorf("%v", err)
		}
	})
	if errors.Is(err, ErrUnavailable) && os.Getenv(RequireVariable) == "" {
		tb.Skipf("%v", err)
	}
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return c
}
