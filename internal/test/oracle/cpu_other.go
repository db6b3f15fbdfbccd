// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package oracle

import "time"

// cpuTime returns zero: the time is not bounded on this system.
func cpuTime() time.Duration { return 0 }
