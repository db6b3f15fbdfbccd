// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package observer

func served() bool { return false }
