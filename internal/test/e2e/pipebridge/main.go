// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build windows

// Pipebridge serves a named pipe and forwards each client to a TCP address, for tests: it takes the place of the pipe that the Docker
// Engine of a Windows host serves, and connects to a real engine on Linux.
//
//	pipebridge -pipe \\.\pipe\docker_engine -to 127.0.0.1:4243
//
// It writes "ready" once it serves the pipe, and runs until it is killed.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/zastava-otel/zastava/internal/test/namedpipe"
)

func main() {
	name := flag.String("pipe", `\\.\pipe\docker_engine`, "name of the pipe to serve")
	to := flag.String("to", "", "host:port that each client is forwarded to")
	flag.Parse()
	if *to == "" {
		fmt.Fprintln(os.Stderr, "pipebridge: -to is empty; name the host:port to forward to")
		os.Exit(2)
	}
	s, err := namedpipe.Serve(*name, *to)
	if err == nil {
		fmt.Println("ready")
		err = s.Wait()
	}
	fmt.Fprintln(os.Stderr, "pipebridge:", err)
	os.Exit(1)
}
