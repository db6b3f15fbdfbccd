// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/zastava-otel/zastava/cmd/zastava-demo/internal/child"
	"github.com/zastava-otel/zastava/internal/privateruntime"
)

// ensureRuntime checks that a private containerd can be started. It installs missing programs with apt-get on Debian and Ubuntu.
func ensureRuntime(ctx context.Context, log string, out io.Writer) error {
	if os.Geteuid() != 0 {
		return errors.New("no container runtime answers on this machine, and starting a private one needs root: run `sudo make run`, or name a runtime with --endpoint")
	}
	err := privateruntime.Check(ctx, privateruntime.Options{})
	if !errors.Is(err, privateruntime.ErrUnavailable) {
		return err
	}
	if _, lookErr := exec.LookPath("apt-get"); lookErr != nil || !isDebian("/etc/os-release") {
		return fmt.Errorf("no container runtime answers on this machine, and without apt-get of Debian or Ubuntu none can be installed: install containerd (1.6 or later) and runc, or name a runtime with --endpoint: %w", err)
	}
	fmt.Fprintln(out, "No container runtime found: installing containerd and runc with apt-get. With systemd, the package also starts a containerd of the system; the demo uses a private one nevertheless.")
	if err := install(ctx, log); err != nil {
		return err
	}
	return privateruntime.Check(ctx, privateruntime.Options{})
}

// install tries the existing package lists first, and then updates them and retries.
func install(ctx context.Context, log string) error {
	packages := []string{"install", "--yes", "--no-install-recommends", "containerd", "runc"}
	if err := aptGet(ctx, log, packages...); err == nil || ctx.Err() != nil {
		return err
	}
	if err := aptGet(ctx, log, "update"); err != nil {
		return err
	}
	return aptGet(ctx, log, packages...)
}

func aptGet(ctx context.Context, log string, args ...string) error {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open apt-get's log: %w", err)
	}
	defer func() { _ = file.Close() }()
	cmd := exec.CommandContext(ctx, "apt-get", args...) //nolint:gosec // the arguments are constants of this file
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// apt-get ends in order on SIGINT; SIGKILL could interrupt dpkg within a package.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 2 * time.Minute
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("apt-get %s: %w; its output is in %s and ends with:\n%s", strings.Join(args, " "), err, log, child.Tail(log, 10))
	}
	return nil
}

// isDebian reports whether ID or ID_LIKE in an os-release(5) file is debian or ubuntu.
func isDebian(osRelease string) bool {
	content, err := os.ReadFile(osRelease)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(content)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if key != "ID" && key != "ID_LIKE" {
			continue
		}
		names := strings.Fields(strings.Trim(value, `"'`))
		if slices.Contains(names, "debian") || slices.Contains(names, "ubuntu") {
			return true
		}
	}
	return false
}
