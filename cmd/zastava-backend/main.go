// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Command zastava-backend is the reference backend: it serves docs/api/openapi.yaml and a page from one database file.
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
	cfg, err := parse(os.Args[1:], os.Getenv, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintf(os.Stderr, "zastava-backend: %v\n", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	err = run(ctx, cfg, log)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "zastava-backend: %v\n", err)
		os.Exit(1)
	}
}
