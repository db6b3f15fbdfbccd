// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"hash/maphash"
	"sync"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// Limits of what is remembered of processes.
const (
	maxRecalled      = 16_384
	maxRecalledBytes = 8 << 20
)

// seed makes the sums below unpredictable: a process that knew it could change its mappings without changing their sum.
var seed = maphash.MakeSeed()

// processKey identifies a process: a reused pid has another start.
type processKey struct {
	pid   int
	start uint64 // in clock ticks after boot
}

// recalled is what was read of a process, with sums of the kernel's texts. A text with the same sum need not be parsed again. It does not
// cover the files themselves: each file is opened again for every sample.
type recalled struct {
	mapped   bool    // spans, text and mappings are known
	spans    spanSum // of the mappings of files, names excepted
	text     uint64  // of all of maps
	mappings []mapping

	cmdline   uint64
	arguments evidence.Datum[[]string]
	truncated bool
	script    string
}

// cost estimates the memory in bytes.
func (r recalled) cost() int {
	n := 256
	for i := range r.mappings {
		n += 144 + len(r.mappings[i].raw)
	}
	for _, argument := range r.arguments.Value {
		n += 16 + len(argument)
	}
	return n
}

// recall remembers processes. What it returns must not be changed.
type recall struct {
	mu    sync.Mutex
	known *bounded[processKey, recalled]
}

func newRecall() (*recall, error) {
	known, err := newBounded[processKey, recalled](maxRecalled, maxRecalledBytes)
	return &recall{known: known}, err
}

func (r *recall) get(key processKey) (known recalled) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, _ = r.known.get(key)
	return known
}

func (r *recall) put(key processKey, now recalled) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known.put(key, now)
}

// spanSum is a sum of the mappings of files in the order of their addresses, without their names. The kernel reports them in two ways: as
// lines of text, and one by one.
type spanSum uint64

// span is one mapping of a file.
type span struct {
	start, end, offset, inode uint64
	device                    device
	flags                     uint64 // as PROCMAP_QUERY has them
}

func (s *spanSum) add(one span) {
	*s = spanSum(maphash.Comparable(seed, struct {
		before spanSum
		span
	}{*s, one}))
}
