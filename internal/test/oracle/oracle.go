// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package oracle judges what the handling of one input cost, for fuzz targets: an input that a parser answers correctly, but for which it
// allocates gigabytes or computes for minutes, is a finding like a wrong answer.
//
// It promises that a test whose input cost more than its bound fails, and says how much. It measures the whole process: bytes
// allocated (whether freed or not) and CPU time of all threads. So a bound is generous, several times what the most expensive honest input
// takes on a slow machine under the race detector, and a target must not run in parallel with other tests.
package oracle

import (
	"fmt"
	"runtime/metrics"
	"strings"
	"testing"
	"time"
)

// Cost bounds the handling of one input, or is what it took.
type Cost struct {
	Bytes uint64        // allocated
	CPU   time.Duration // of all threads of the process; not measured on Windows
}

const (
	// What the smallest input may cost. A target of ours that parses takes microseconds and kilobytes; most of the CPU bound is for
	// collections of garbage that happen to fall into the same time.
	leastBytes = 32 << 20
	leastCPU   = 2 * time.Second
	// What each byte of input may add. Decoding JSON into values takes some 100 bytes and 50 ns a byte; with the tree of a validator and
	// the race detector ten times that.
	bytesPerByte = 4 << 10
	cpuPerByte   = 20 * time.Microsecond
)

// Parsing is the bound for a parser whose cost is linear in the size of its input, in bytes.
func Parsing(size int) Cost {
	return Cost{Bytes: leastBytes + uint64(size)*bytesPerByte, CPU: leastCPU + time.Duration(size)*cpuPerByte}
}

// Bound fails the test if, when it ends, it cost more than allowed. It is the first call of a fuzz target.
func Bound(tb testing.TB, allowed Cost) {
	tb.Helper()
	before := now()
	tb.Cleanup(func() {
		tb.Helper()
		if excess := now().since(before).over(allowed); excess != "" {
			tb.Error(excess)
		}
	})
}

// now returns what the process has cost so far.
func now() Cost {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return Cost{Bytes: sample[0].Value.Uint64(), CPU: cpuTime()}
}

func (c Cost) since(before Cost) Cost {
	return Cost{Bytes: c.Bytes - before.Bytes, CPU: c.CPU - before.CPU}
}

// over describes by how much a cost exceeds what is allowed; empty if it does not.
func (c Cost) over(allowed Cost) string {
	var faults []string
	if c.Bytes > allowed.Bytes {
		faults = append(faults, fmt.Sprintf("allocated %d bytes, more than %d", c.Bytes, allowed.Bytes))
	}
	if c.CPU > allowed.CPU {
		faults = append(faults, fmt.Sprintf("used %v of CPU time, more than %v", c.CPU, allowed.CPU))
	}
	if faults == nil {
		return ""
	}
	return "the input is too expensive: " + strings.Join(faults, "; ")
}
