// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/moby/moby/client"

	"github.com/zastava-otel/zastava/internal/privateruntime"
)

// daemon is what dockerd and Podman's service have in common: a process in a directory of its own that listens on a socket.
type daemon struct {
	name    string
	dir     string
	program string
	args    []string
	env     []string
	path    string // on which it finds its own programs
	client  *client.Client

	mu    sync.Mutex
	cmd   *exec.Cmd     // nil while it is down
	ended chan struct{} // closed by the goroutine that waits for the process
}

// find gives a search path that begins with binDirs, and where on it the programs are.
func find(binDirs []string, remedy string, programs ...string) (path string, found []string, err error) {
	var missing []string
	if os.Geteuid() != 0 {
		missing = append(missing, "root")
	}
	dirs := append(append([]string{}, binDirs...), filepath.SplitList(os.Getenv("PATH"))...)
	dirs = append(dirs, "/usr/local/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")
	for _, name := range programs {
		program := ""
		for _, in := range dirs {
			if s, err := os.Stat(filepath.Join(in, name)); err == nil && s.Mode().IsRegular() && s.Mode()&0o111 != 0 {
				program = filepath.Join(in, name)
				break
			}
		}
		if program == "" {
			missing = append(missing, name)
		}
		found = append(found, program)
	}
	if len(missing) > 0 {
		return "", nil, fmt.Errorf("%w: missing %s (%s)", ErrUnavailable, strings.Join(missing, ", "), remedy)
	}
	return strings.Join(dirs, string(os.PathListSeparator)), found, nil
}

// prepare makes the directories, and the client.
func (d *daemon) prepare(below ...string) (err error) {
	if !filepath.IsAbs(d.dir) || len(d.socketPath()) > 90 {
		return fmt.Errorf("start %s in %q: choose an absolute and shorter directory", d.name, d.dir)
	}
	for _, name := range below {
		if err := os.MkdirAll(filepath.Join(d.dir, name), 0o700); err != nil {
			return fmt.Errorf("prepare %s in %s: %w", d.name, d.dir, err)
		}
	}
	if d.client, err = client.New(client.WithHost(d.Endpoint())); err != nil {
		return fmt.Errorf("prepare the client of %s: %w", d.name, err)
	}
	return nil
}

// begin starts the daemon and loads the images.
func (d *daemon) begin(ctx context.Context) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("look for a directory for the test images: %w", err)
	}
	archive, err := privateruntime.BuildImages(ctx, filepath.Join(cache, "zastava-privateruntime"))
	if err != nil {
		return err
	}
	if err := d.launch(ctx); err != nil {
		return err
	}
	return d.load(ctx, archive)
}

func (d *daemon) socketPath() string { return filepath.Join(d.dir, "d.sock") }

// Endpoint is the address as runtimes are configured: unix:///….
func (d *daemon) Endpoint() string { return "unix://" + d.socketPath() }

// Client speaks to the daemon. It survives restarts of the daemon and is closed by Wipe.
func (d *daemon) Client() *client.Client { return d.client }

// CgroupParent is the parent of the cgroups of this daemon's containers. Podman has to be told it for each of them.
func (d *daemon) CgroupParent() string { return cgroupOf(d.dir) }

// LogTail is the last n lines of the daemon's log, for error messages.
func (d *daemon) LogTail(n int) string {
	content, err := os.ReadFile(d.logFile())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (d *daemon) logFile() string { return filepath.Join(d.dir, d.name+".log") }

// launch starts the process and waits until it answers.
func (d *daemon) launch(ctx context.Context) error {
	log, err := os.OpenFile(d.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", d.name, err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(d.program, d.args...)
	cmd.Dir = d.dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(append(os.Environ(), "PATH="+d.path), d.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", d.program, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in cmd.ProcessState, and why in the log
		close(ended)
	}()
	d.mu.Lock()
	d.cmd, d.ended = cmd, ended
	d.mu.Unlock()
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		_, err := d.client.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true})
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ended:
			return fmt.Errorf("%s ended by itself (%s); its log ends with:\n%s", d.name, cmd.ProcessState, d.LogTail(20))
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w (last answer: %w); its log ends with:\n%s", d.name, context.Cause(ctx), err, d.LogTail(20))
		}
	}
}

func (d *daemon) load(ctx context.Context, archive string) error {
	f, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("open the test images: %w", err)
	}
	defer func() { _ = f.Close() }()
	answer, err := d.client.ImageLoad(ctx, f)
	if err != nil {
		return fmt.Errorf("load the test images: %w", err)
	}
	defer func() { _ = answer.Close() }()
	if _, err := io.Copy(io.Discard, answer); err != nil {
		return fmt.Errorf("load the test images: %w", err)
	}
	return nil
}

// Stop ends the daemon with SIGTERM and waits for it. dockerd stops its containers, unless live-restore is on.
func (d *daemon) Stop(ctx context.Context) error { return d.end(ctx, syscall.SIGTERM) }

// Kill ends the daemon with SIGKILL and waits for it.
func (d *daemon) Kill() error { return d.end(context.Background(), syscall.SIGKILL) }

// Restart starts the daemon again, and stops it first when it runs.
func (d *daemon) Restart(ctx context.Context) error {
	if err := d.Stop(ctx); err != nil {
		return err
	}
	return d.launch(ctx)
}

func (d *daemon) end(ctx context.Context, with syscall.Signal) error {
	d.mu.Lock()
	cmd, ended := d.cmd, d.ended
	d.mu.Unlock()
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Signal(with); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to %s: %w", with, d.name, err)
	}
	select {
	case <-ended:
	case <-ctx.Done():
		return fmt.Errorf("wait for %s to end after %s: %w", d.name, with, context.Cause(ctx))
	}
	d.mu.Lock()
	d.cmd = nil
	d.mu.Unlock()
	return nil
}

// Wipe ends the daemon and then does what WipeDir does. It is of no use afterwards.
func (d *daemon) Wipe(ctx context.Context) error {
	stopping, cancel := context.WithTimeout(ctx, stopLimit)
	err := d.Stop(stopping)
	cancel()
	if err != nil {
		err = d.Kill()
	}
	return errors.Join(err, d.client.Close(), WipeDir(ctx, d.dir))
}

// wiped is a daemon that a test has.
type wiped interface {
	comparable
	LogTail(n int) string
	Wipe(ctx context.Context) error
}

// forTest starts a daemon for a test and wipes it at the test's end.
func forTest[D wiped](tb privateruntime.TB, name, require string, start func(ctx context.Context, dir string) (D, error)) D {
	tb.Helper()
	dir, err := os.MkdirTemp("", "zsd-") // not tb.TempDir: a test's name in the path makes it too long for a socket
	if err != nil {
		tb.Fatalf("make a directory for %s: %v", name, err)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), 2*time.Minute)
	defer cancel()
	d, err := start(ctx, dir)
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute) // the test's own has ended
		defer cancel()
		var none D
		var err error
		if d == none {
			err = WipeDir(ctx, dir)
		} else {
			if tb.Failed() {
				tb.Logf("the log of %s ends with:\n%s", name, d.LogTail(40))
			}
			err = d.Wipe(ctx)
		}
		if err != nil {
			tb.Errorf("%v", err)
		}
	})
	if errors.Is(err, ErrUnavailable) && os.Getenv(require) == "" {
		tb.Skipf("%v", err)
	}
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return d
}
