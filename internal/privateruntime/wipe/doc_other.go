// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

// Package wipe is empty on anything but Linux.
package wipe
