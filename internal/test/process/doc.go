// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package process runs the programs of this repository as processes under test. It finds a program that make has built, starts it
// with its output in a file, waits until it serves, sends it requests, and ends it by its process id, with SIGTERM or SIGKILL.
//
// No process outlives the test that started it. A failed test logs the end of the process's output. Waiting for a process fails at
// once when the process has ended. A test of a program that is not built is skipped, with the program's name, or fails with
// ZASTAVA_TEST_REQUIRE_RUNTIME=1. The package builds nothing, and ends only what it has started.
package process

import "context"

// TB is the part of testing.TB that is used here. It is an interface of our own, because the tests of this package implement it to see how a
// test fails; testing.TB has an unexported method.
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
