// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package chaos tests that every event that the collector has accepted arrives, whatever happens. It runs the built collector and
// reference backend as real processes, with a proxy between them that the test controls, and a source that knows what was accepted. In
// the end the backend must have every accepted event once, or the event must be counted as lost under a stated policy. It must have no
// other event.
//
// `make test` runs a short form, ZASTAVA_E2E=long the long one. The binaries are those of `make slim build/zastava-backend`.
package chaos
