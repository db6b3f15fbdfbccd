// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package process runs the programs of this repository as processes under test: it finds what make built, starts it
// with its output in a file, waits until it serves, asks it, and ends it by its pid, in order or with SIGKILL.
//
// It promises that no process outlives the test that started it, that the end of its output is shown when that test failed,
// and that a program that ended by itself is told at once by whoever waits for it. What is not built skips the test by name, or
// fails it with ZASTAVA_TEST_REQUIRE_RUNTIME=1. It refuses to build anything, and to end what it did not start.
package process

import "context"

// TB is the part of testing.TB that is used here.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Skipf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
	Context() context.Context
	Failed() bool
}
