// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"path/filepath"
)

// The names of the programs, as Built takes them.
const (
	CollectorName = "otelcol-zastava-slim"
	BackendName   = "zastava-backend"
)

// Program is what to run.
type Program struct {
	Path string
	Args []string
	Env  []string // NAME=value, on top of this process's own
	Log  string   // the file that its output is added to
}

// Root is the directory of the repository: the nearest one from the test's upwards that has a go.mod.
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

// Built is the path of a program below build. Without it the test is skipped.
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
