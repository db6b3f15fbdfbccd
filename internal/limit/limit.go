// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package limit bounds what one foreign input may cost: bytes read, bytes after decompression, items, digits of a number, nesting
// and CPU time.
//
// It promises:
//
//   - every refusal is an *Error that names the kind of limit and its value, so that a caller can count it and say what to change;
//   - a check costs less than what it guards: no allocation in the good case, and no call to the kernel for most of them;
//   - a limit that is reached stays reached: each later check of the same Budget fails with the same error.
//
// It refuses to guess: a zero limit allows nothing. It parses no format; CheckJSON only scans for what makes JSON expensive, and leaves
// to the decoder whether the text is JSON.
package limit

import (
	"fmt"
	"io"
	"time"
)

// Kind is what a limit counts.
type Kind string

// The kinds of limit.
const (
	Bytes    Kind = "bytes"                     // read from the input
	Unpacked Kind = "bytes after decompression" // whatever the number of compressed bytes
	Items    Kind = "items"                     // records, elements, sections, lines
	Digits   Kind = "characters of a number"
	Exponent Kind = "exponent of a number"
	Nesting  Kind = "nesting"
	CPU      Kind = "ms of CPU time"
)

// Error says that an input exceeds a limit.
type Error struct {
	Kind Kind
	Max  int64 // in the unit of Kind
}

func (e *Error) Error() string { return fmt.Sprintf("more than %d %s", e.Max, e.Kind) }

// Limits are the bounds of one input. A bound of zero allows nothing of its kind.
type Limits struct {
	Bytes    int64
	Unpacked int64
	Items    int64
	CPU      time.Duration // of the calling thread
}

// cpuEvery is how many items pass between two readings of the CPU clock: a reading costs some 200 ns, an item of any parser more than
// 10 ns, so the clock adds less than a tenth, and an overrun is at most this many items.
const cpuEvery = 256

// Budget is what one input has left. The methods must be called by one goroutine; those that measure CPU time by one that is locked to
// its thread.
type Budget struct {
	limits   Limits
	read     int64
	unpacked int64
	items    int64
	began    time.Duration
	err      *Error
}

// New starts a budget. CPU time counts from here.
func New(limits Limits) *Budget { return &Budget{limits: limits, began: threadTime()} }

// Err returns the limit that was exceeded, nil if none was.
func (b *Budget) Err() error {
	if b.err == nil {
		return nil
	}
	return b.err
}

func (b *Budget) exceed(kind Kind, maximum int64) error {
	if b.err == nil {
		b.err = &Error{Kind: kind, Max: maximum}
	}
	return b.err
}

// Item counts n items, and checks the CPU time once for every 256.
func (b *Budget) Item(n int64) error {
	if b.err != nil {
		return b.err
	}
	before := b.items
	b.items += n
	if b.items > b.limits.Items || b.items < before {
		return b.exceed(Items, b.limits.Items)
	}
	if before/cpuEvery != b.items/cpuEvery {
		return b.Spent()
	}
	return nil
}

// Spent checks the CPU time.
func (b *Budget) Spent() error {
	if b.err != nil {
		return b.err
	}
	if threadTime()-b.began > b.limits.CPU {
		return b.exceed(CPU, b.limits.CPU.Milliseconds())
	}
	return nil
}

// Take counts n bytes of input.
func (b *Budget) Take(n int64) error {
	if b.err != nil {
		return b.err
	}
	if n < 0 || n > b.limits.Bytes-b.read {
		return b.exceed(Bytes, b.limits.Bytes)
	}
	b.read += n
	return nil
}

// Reader returns a reader of the input that fails once more bytes were read than are allowed.
func (b *Budget) Reader(r io.Reader) io.Reader {
	return &reader{budget: b, from: r, kind: Bytes, read: &b.read, maximum: b.limits.Bytes}
}

// Unpacked returns a reader of a decompressor's output that fails once it gave more bytes than are allowed, or took too much CPU time.
func (b *Budget) Unpacked(r io.Reader) io.Reader {
	return &reader{budget: b, from: r, kind: Unpacked, read: &b.unpacked, maximum: b.limits.Unpacked}
}

// Reader returns a reader that fails with an *Error of kind Bytes after maximum bytes, where io.LimitReader would pretend the end.
func Reader(r io.Reader, maximum int64) io.Reader {
	return (&Budget{limits: Limits{Bytes: maximum, CPU: 1<<63 - 1}}).Reader(r)
}

type reader struct {
	budget  *Budget
	from    io.Reader
	kind    Kind
	read    *int64
	maximum int64
}

// Read reads at most one byte past the limit: so an input of exactly the limit ends with io.EOF, and a longer one with an *Error.
func (r *reader) Read(p []byte) (int, error) {
	if r.budget.err != nil {
		return 0, r.budget.err
	}
	if left := r.maximum - *r.read; int64(len(p)) > left+1 {
		p = p[:left+1]
	}
	n, err := r.from.Read(p)
	*r.read += int64(n)
	if over := *r.read - r.maximum; over > 0 {
		return max(0, n-int(over)), r.budget.exceed(r.kind, r.maximum)
	}
	if r.kind == Unpacked {
		if spent := r.budget.Spent(); spent != nil {
			return n, spent
		}
	}
	return n, err
}
