// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package record is the log-record schema, both ways: an Encoder turns transitions into OpenTelemetry log records, a
// Decoder turns such records back into runtime events of the backend API. Receiver and exporter meet here and nowhere else.
//
// What it promises: one ResourceLogs per container, so that k8sattributes, filter and resource processors work as users
// expect; an unset time or unknown value is an absent attribute; the same transition always gives the same event id; and
// decoding survives what processors do in between: attributes that are gone, or that changed their type.
//
// What it refuses: it never invents a value. A record that is not of this schema is ErrForeign; one that is, but lacks
// what an event cannot be without, is an *InvalidError that names the attribute.
package record
