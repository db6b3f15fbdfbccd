// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:generate mdatagen metadata.yaml

// Package zastavastorageextension stores the queues and the state of components in journals on disk (package journal).
//
// It promises: no content of its files prevents a start. Damage loses only the damaged transactions, and is logged and counted. If
// another process uses a directory, a second one is created, and its items are moved to the first one when both are free. A full
// or read-only disk loses nothing that was accepted: new items are refused, and the items of the queue are still delivered.
//
// It refuses to drop accepted items in order to free space. The size of a queue is an option of the queue.
package zastavastorageextension
