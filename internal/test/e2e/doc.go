// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the whole path: a real containerd, the built collector with the repository's own configuration, the
// reference backend and its page. In the end the backend's events must equal what the driver of the runtime did: no event is
// missing, none is extra, ids are unique, exit codes and times are equal.
//
// The tests need root, containerd and runc, and the binaries that `make slim build/zastava-backend` builds. A test skips and names
// what is missing; with ZASTAVA_TEST_REQUIRE_RUNTIME=1 it fails instead.
package e2e
