// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"strings"
	"unicode"
)

// Status is what is known of a datum.
type Status string

// The statuses. StatusNone, the zero value, marks what was not to be read; it is neither recorded nor sent.
const (
	StatusNone    Status = ""
	StatusPresent Status = "PRESENT"
	StatusAbsent  Status = "ABSENT"
	StatusUnknown Status = "UNKNOWN"
)

// Reason is why a datum is UNKNOWN.
type Reason string

// The reasons.
const (
	// ReasonProcessGone: the process ended, its pid belongs to another one by now, or it still runs the runtime's own program, in the
	// moment before it becomes the container's.
	ReasonProcessGone Reason = "process_gone"
	// ReasonPermission: the kernel refused. docs/evidence.md lists which capability each datum needs.
	ReasonPermission Reason = "permission"
	// ReasonNotELF: neither an ELF nor a PE file, or an invalid one.
	ReasonNotELF Reason = "not_elf"
	// ReasonHostile: the headers of a binary are made to cost their reader more than those of any honest one: a compressed table of section
	// names, or more than is read of a file. Nothing that they say is recorded.
	ReasonHostile Reason = "hostile"
	// ReasonTooLarge: larger than Limits.FileBytes.
	ReasonTooLarge Reason = "too_large"
	// ReasonBudget: a limit of the container, of the minute or of CPU time was reached. A later sample may read it.
	ReasonBudget Reason = "budget"
	// ReasonDeletedFile: the file that was mapped can no longer be read: it was deleted or replaced, is outside the container's root, or
	// changed while it was read.
	ReasonDeletedFile Reason = "deleted_file"
	// ReasonNotRegular: a device, a pipe, a socket or a directory.
	ReasonNotRegular Reason = "not_regular"
	// ReasonTimeout: it did not answer in time, or answered with an I/O error; or its container is not sampled because it made a thread
	// hang.
	ReasonTimeout Reason = "timeout"
)

// Datum is a value, or the knowledge that there is none, or the reason why it is unknown. Value is valid only if PRESENT.
type Datum[T any] struct {
	Status Status
	Reason Reason // with UNKNOWN only
	Value  T
}

// Present returns a known value.
func Present[T any](value T) Datum[T] { return Datum[T]{Status: StatusPresent, Value: value} }

// Absent returns the knowledge that there is no value.
func Absent[T any]() Datum[T] { return Datum[T]{Status: StatusAbsent} }

// Unknown returns a value that could not be read.
func Unknown[T any](reason Reason) Datum[T] { return Datum[T]{Status: StatusUnknown, Reason: reason} }

// Get returns the value, and whether there is one.
func (d Datum[T]) Get() (value T, ok bool) { return d.Value, d.Status == StatusPresent }

// MaxTextBytes is how many bytes ShortText keeps.
const MaxTextBytes = 256

// ShortText returns at most MaxTextBytes of a text that a container controls, as valid UTF-8 with '?' for each character that is not shown but
// changes what is: a control character, or a mark of direction (Unicode's categories Cc and Cf). It is a copy, so that the file it was read
// from can be freed.
func ShortText(s string) string {
	return strings.Clone(strings.Map(visible, strings.ToValidUTF8(s[:min(len(s), MaxTextBytes)], "")))
}

func visible(r rune) rune {
	if unicode.In(r, unicode.Cc, unicode.Cf) {
		return '?'
	}
	return r
}
