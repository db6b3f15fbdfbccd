// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package distro holds the tests of what surrounds the code: that the ocb
// manifests list the components that are promised, at the versions go.mod pins,
// and that every collector configuration in this repository, in a file or in
// the documentation, loads and validates. It has no code of its own.
package distro
