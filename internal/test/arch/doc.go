// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package arch tests that docs/architecture.md and the code agree: which packages exist, and which of ours each one imports. It holds
// tests only.
package arch
