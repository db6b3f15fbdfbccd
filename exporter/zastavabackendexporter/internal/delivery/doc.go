// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package delivery is one lane from the pipeline to the backend: admission, the collector's queue, retry, push, outcome. The
// exporter makes two lanes, one for events and one for facts, so that neither waits for the other.
//
// What it promises: a record that was admitted is pushed until its destination accepts it, refuses it permanently, or the lane
// evicts it or gives up; in the last two cases the destination is asked to count it, with the cause. A record that is being
// pushed is never evicted. A stop interrupts every wait, and a queue on disk keeps what was not delivered.
//
// What it refuses: it does not know what a record means or how it is sent; that is the Destination's part. It does not replace
// the collector's queue, batching or storage. docs/decisions/0001-own-retry-in-the-exporter.md says why it has a retry of its own.
package delivery
