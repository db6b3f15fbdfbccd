// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Gostatic is a static Go program with a dependency, for the tests of package evidence.
package main

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/time/rate"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	if rate.NewLimiter(1, 1).Allow() {
		<-stop
	}
}
