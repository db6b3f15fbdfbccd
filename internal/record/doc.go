// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package record is the schema of log records in both directions: an Encoder converts transitions to OpenTelemetry log records, a
// Decoder converts such records to runtime events of the backend API. The receiver and the exporter share this package only.
//
// What it promises: one ResourceLogs per container, so that k8sattributes, filter and resource processors work as users expect; an
// unset time or unknown value is an absent attribute; the same transition always has the same event id; and decoding tolerates
// what processors do in between: attributes that were removed, or that changed their type.
//
// What it refuses: it never invents a value. A record that is not of this schema is ErrForeign; one that is, but lacks what an
// event requires, is an *InvalidError that names the attribute.
package record
