// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Zastava-demo shows the whole path on one machine: a container runtime, the
// collector that observes it, and the reference backend with its page. It is
// what `make run` runs.
//
// Where a CRI runtime answers on this node, the demo observes it and changes
// nothing. Else it starts a private containerd (installing containerd and runc
// on Debian and Ubuntu, as root), plays a small workload on it, and leaves no
// process, mount, cgroup, namespace or file behind when it ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

// The children are tied to the thread that starts them (package child). The
// main thread is the one that lives as long as the program.
func init() { runtime.LockOSThread() }

func main() {
	o, err := parseFlags(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "zastava-demo:", err)
		os.Exit(2)
	}
	// These stay caught to the very end: a second Ctrl-C must not cut the
	// cleaning short. SIGPIPE is here for `make run | head`.
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	go func() {
		for range signals {
			cancel()
		}
	}()
	err = run(ctx, o, os.Stdout)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "zastava-demo:", err)
		os.Exit(1)
	}
}
