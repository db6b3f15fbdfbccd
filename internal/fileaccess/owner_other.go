// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package fileaccess

import "io/fs"

const hasModes = false

func foreignOwner(fs.FileInfo) string { return "" }
