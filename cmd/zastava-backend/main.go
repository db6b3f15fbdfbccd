// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Command zastava-backend is the reference backend: it serves docs/api/openapi.yaml and a page from one database file. Its
// subcommands replay quarantined events and check other backends of the same API.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := command(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// command runs the subcommand of the arguments and returns the exit code: 2 for invalid arguments, 1 for other failures.
func command(ctx context.Context, args []string) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	var do func() error
	var err error
	switch {
	case len(args) > 0 && args[0] == "replay":
		var cfg *replayConfig
		cfg, err = parseReplay(args[1:], os.Stderr)
		do = func() error { return runReplay(ctx, cfg, log, os.Stdout) }
	case len(args) > 0 && args[0] == "conformance":
		var cfg *conformanceConfig
		cfg, err = parseConformance(args[1:], os.Stderr)
		do = func() error { return runConformance(ctx, cfg, os.Stdout) }
	default:
		var cfg *config
		cfg, err = parse(args, os.Getenv, os.Stderr)
		do = func() error { return run(ctx, cfg, log) }
	}
	code := 2
	if err == nil {
		code, err = 1, do()
	}
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	fmt.Fprintf(os.Stderr, "zastava-backend: %v\n", err)
	return code
}
