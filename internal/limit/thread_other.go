// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package limit

import "time"

var origin = time.Now()

// threadTime returns elapsed time: where a thread's CPU time cannot be read, the limit is one of time.
func threadTime() time.Duration { return time.Since(origin) }
