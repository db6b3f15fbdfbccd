// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

// Zastava-demo shows the whole path on one Linux machine; see the Linux build
// of this package.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "zastava-demo: the demo needs Linux, because it plays its workload on a private containerd; here, run the collector and the backend by hand.")
	os.Exit(1)
}
