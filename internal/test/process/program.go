// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"path/filepath"
)

// The names of the programs, for Built.
const (
	CollectorName = "otelcol-zastava-slim"
	BackendName   = "zastava-backend"
)

// Program is a program with its arguments.
type Program struct {
	Path string
	Args []string
	Env  []string // NAME=value, added to this process's environment
	Log  string   // the file to which its output is appended
}

// Root returns the directory of the repository: the nearest one with a go.mod, from the test's own upwards.
func Root(tb TB) string {
	tb.Helper()
	at, err := os.Getwd()
	if err != nil {
		tb.Fatalf("find the repository: %v", err)
	}
	for dir := at; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			tb.Fatalf("find the repository: no go.mod in %s or above: run the tests within the repository", at)
		}
	}
}

// Built returns the path of a program below build. It skips the test when the program is not built, or fails it with
// ZASTAVA_TEST_REQUIRE_RUNTIME=1.
func Built(tb TB, name string) string {
	tb.Helper()
	path := filepath.Join(Root(tb), "build", name)
	if _, err := os.Stat(path); err != nil {
		const remedy = "%s is not built: run `make slim build/zastava-backend`, or the tests by `make test`"
		if os.Getenv("ZASTAVA_TEST_REQUIRE_RUNTIME") == "1" {
			tb.Fatalf(remedy, name)
		}
		tb.Skipf(remedy, name)
	}
	return path
}
