// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package fileaccess

const onlyRegular = 0
