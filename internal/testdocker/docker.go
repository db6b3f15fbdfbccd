// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package testdocker

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

	"github.com/zastava-otel/zastava/internal/testruntime"
)

// ErrUnavailable is wrapped by every error that says what this machine lacks to run a private dockerd.
var ErrUnavailable = errors.New("no private dockerd can run here")

// RequireVariable makes ForTest fail where it would skip, when it is not empty.
const RequireVariable = "ZASTAVA_TEST_REQUIRE_DOCKER"

const (
	readyPoll = 25 * time.Millisecond // 20.10 takes 0.6 to 1 s
	stopLimit = 20 * time.Second
)

// Docker is a private dockerd. Its daemon is stopped and started by one goroutine; Client may be used by many.
type Docker struct {
	dir     string
	dockerd string
	path    string // on which dockerd finds containerd and runc
	client  *client.Client

	mu    sync.Mutex
	cmd   *exec.Cmd     // nil while it is down
	ended chan struct{} // closed by the goroutine that waits for the process
}

// Start starts a dockerd in dir, which must be absolute, short enough for a socket path and its own, and loads the images of
// package testruntime. When it fails nothing is left running; dir stays, with the log in it, until WipeDir.
func Start(ctx context.Context, dir string) (*Docker, error) {
	dir = filepath.Clean(dir)
	d, err := find(dir)
	if err != nil {
		return nil, err
	}
	if !filepath.IsAbs(dir) || len(socketPath(dir)) > 90 {
		return nil, fmt.Errorf("start dockerd in %q: choose an absolute and shorter directory", dir)
	}
	for _, name := range []string{"data", "exec"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			return nil, fmt.Errorf("prepare dockerd in %s: %w", dir, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "daemon.json"), []byte("{}\n"), 0o600); err != nil {
		return nil, fmt.Errorf("prepare dockerd in %s: %w", dir, err)
	}
	if d.client, err = client.New(client.WithHost(d.Endpoint())); err != nil {
		return nil, fmt.Errorf("prepare the client of dockerd: %w", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("look for a directory for the test images: %w", err)
	}
	archive, err := testruntime.BuildImages(ctx, filepath.Join(cache, "zastava-testruntime"))
	if err == nil {
		err = d.launch(ctx)
	}
	if err == nil {
		err = d.load(ctx, archive)
	}
	if err != nil {
		return nil, errors.Join(err, d.Kill(), d.client.Close())
	}
	return d, nil
}

func find(dir string) (*Docker, error) {
	var missing []string
	if os.Geteuid() != 0 {
		missing = append(missing, "root")
	}
	dirs := append(filepath.SplitList(os.Getenv("PATH")), "/usr/local/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")
	d := &Docker{dir: dir, path: strings.Join(dirs, string(os.PathListSeparator))}
	for _, name := range []string{"dockerd", "containerd", "runc"} {
		found := ""
		for _, in := range dirs {
			if s, err := os.Stat(filepath.Join(in, name)); err == nil && s.Mode().IsRegular() && s.Mode()&0o111 != 0 {
				found = filepath.Join(in, name)
				break
			}
		}
		if found == "" {
			missing = append(missing, name)
		}
		if name == "dockerd" {
			d.dockerd = found
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%w: missing %s (on Debian: apt-get install docker.io)", ErrUnavailable, strings.Join(missing, ", "))
	}
	return d, nil
}

func socketPath(dir string) string { return filepath.Join(dir, "d.sock") }

// Endpoint is the address as runtimes are configured: unix:///….
func (d *Docker) Endpoint() string { return "unix://" + socketPath(d.dir) }

// Client speaks to the daemon. It survives restarts of the daemon and is closed by Wipe.
func (d *Docker) Client() *client.Client { return d.client }

// LogTail is the last n lines of the daemon's log, for error messages.
func (d *Docker) LogTail(n int) string {
	content, err := os.ReadFile(d.logFile())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (d *Docker) logFile() string { return filepath.Join(d.dir, "dockerd.log") }

// launch starts the process and waits until it answers.
func (d *Docker) launch(ctx context.Context) error {
	log, err := os.OpenFile(d.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open dockerd's log: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(d.dockerd,
		"--config-file", filepath.Join(d.dir, "daemon.json"),
		"--data-root", filepath.Join(d.dir, "data"),
		"--exec-root", filepath.Join(d.dir, "exec"),
		"--pidfile", filepath.Join(d.dir, "dockerd.pid"),
		"--host", d.Endpoint(),
		"--cgroup-parent", cgroupOf(d.dir),
		"--exec-opt", "native.cgroupdriver=cgroupfs",
		"--storage-driver", "overlay2",
		"--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--userland-proxy=false",
	)
	cmd.Dir = d.dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "PATH="+d.path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", d.dockerd, err)
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
			return fmt.Errorf("dockerd ended by itself (%s); its log ends with:\n%s", cmd.ProcessState, d.LogTail(20))
		case <-ctx.Done():
			return fmt.Errorf("wait for dockerd: %w (last answer: %w); its log ends with:\n%s", context.Cause(ctx), err, d.LogTail(20))
		}
	}
}

func (d *Docker) load(ctx context.Context, archive string) error {
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

// Stop ends the daemon with SIGTERM and waits for it. It stops its containers.
func (d *Docker) Stop(ctx context.Context) error { return d.end(ctx, syscall.SIGTERM) }

// Kill ends the daemon with SIGKILL and waits for it. Its containerd dies with it; its containers live on, without anyone to
// watch them.
func (d *Docker) Kill() error {
	if err := d.end(context.Background(), syscall.SIGKILL); err != nil {
		return err
	}
	// Where the first process is no init, the containerd stays as a zombie, which the next dockerd takes for a living one.
	if err := os.Remove(filepath.Join(d.dir, "exec", "containerd", "containerd.pid")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("after SIGKILL to dockerd: %w", err)
	}
	return nil
}

// Restart starts the daemon again, and stops it first when it runs.
func (d *Docker) Restart(ctx context.Context) error {
	if err := d.Stop(ctx); err != nil {
		return err
	}
	return d.launch(ctx)
}

func (d *Docker) end(ctx context.Context, with syscall.Signal) error {
	d.mu.Lock()
	cmd, ended := d.cmd, d.ended
	d.mu.Unlock()
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Signal(with); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to dockerd: %w", with, err)
	}
	select {
	case <-ended:
	case <-ctx.Done():
		return fmt.Errorf("wait for dockerd to end after %s: %w", with, context.Cause(ctx))
	}
	d.mu.Lock()
	d.cmd = nil
	d.mu.Unlock()
	return nil
}

// ForTest starts a dockerd for a test and wipes it at the test's end. It skips the test, naming what is missing, where none
// can run.
func ForTest(tb testruntime.TB) *Docker {
	tb.Helper()
	dir, err := os.MkdirTemp("", "zsd-") // not tb.TempDir: a test's name in the path makes it too long for a socket
	if err != nil {
		tb.Fatalf("make a directory for dockerd: %v", err)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), 2*time.Minute)
	defer cancel()
	d, err := Start(ctx, dir)
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute) // the test's own has ended
		defer cancel()
		var err error
		if d == nil {
			err = WipeDir(ctx, dir)
		} else {
			if tb.Failed() {
				tb.Logf("dockerd's log ends with:\n%s", d.LogTail(40))
			}
			err = d.Wipe(ctx)
		}
		if err != nil {
			tb.Errorf("%v", err)
		}
	})
	if errors.Is(err, ErrUnavailable) && os.Getenv(RequireVariable) == "" {
		tb.Skipf("%v", err)
	}
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return d
}
