// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the whole path: a real containerd, the built collector with the repository's own configuration, the
// reference backend and its page. What the backend holds in the end must equal what the driver of the runtime did:
// nothing missing, nothing extra, ids unique, exit codes and times the same.
//
// The tests need root, containerd and runc, and the binaries that `make slim build/zastava-backend` makes. What is missing
// is named when they skip; with ZASTAVA_TEST_REQUIRE_RUNTIME=1 they fail instead.
package e2e
