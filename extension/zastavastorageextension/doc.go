// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:generate mdatagen metadata.yaml

// Package zastavastorageextension stores queues and state of components in journals on disk (package journal).
//
// What it promises: what is in its files never prevents a start. Damage costs the transactions that were hit, is said and
// counted; a directory that another process has is left to it, another is taken, and what is in that one is taken over when
// both are free. A disk that is full or read-only loses nothing that was accepted: new items are refused, and those in the
// queue go on being delivered.
//
// What it refuses: to drop what was accepted in order to make room. How much a queue may hold is the queue's own option.
package zastavastorageextension
