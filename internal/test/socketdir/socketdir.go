// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package socketdir makes directories for the Unix sockets of tests.
package socketdir

import (
	"os"
	"testing"
)

// New returns a new directory that is removed at the test's end. Its path is short, unlike that of TempDir, which has the test's
// name in it: the path of a socket may have 107 bytes on Linux (unix(7)).
func New(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "zst-") //nolint:usetesting // see above
	if err != nil {
		tb.Fatalf("make a directory for sockets: %v", err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Errorf("remove the directory for sockets: %v", err)
		}
	})
	return dir
}
