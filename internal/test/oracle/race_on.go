// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build race

package oracle

// Slowdown is how many times slower the race detector makes this build, at most: its documentation says 2 to 20.
const Slowdown = 20
