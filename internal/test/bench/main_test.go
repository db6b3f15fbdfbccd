// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

// Package bench has the benchmarks that need several parts of the project, or real processes.
package bench

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/zastava-otel/zastava/internal/test/bench/crihost"
)

func TestMain(m *testing.M) {
	if crihost.Served() || dockerServed() {
		return
	}
	goleak.VerifyTestMain(m)
}
