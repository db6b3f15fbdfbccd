// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package arch tests that the documentation and the code agree: docs/architecture.md lists which packages exist and which of ours each
// one imports, and links, paths and tests that pages name exist. It holds tests only.
package arch
