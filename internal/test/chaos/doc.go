// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package chaos tests that what the collector accepted arrives, whatever happens: the built collector and reference backend as
// real processes, a proxy between them that the test controls, and a source that knows what was accepted. In the end every
// accepted event is in the backend once, or counted as lost by a stated policy; and nothing else is there.
//
// `make test` runs a short form; ZASTAVA_E2E=long the whole one. The binaries are those of `make slim build/zastava-backend`.
package chaos
