// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package oracle

// Slowdown is how many times slower the race detector makes this build: 1 without it.
const Slowdown = 1
