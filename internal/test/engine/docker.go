// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/zastava-otel/zastava/internal/privateruntime"
)

// ErrUnavailable is wrapped by every error that says what this machine lacks to run a private dockerd.
var ErrUnavailable = errors.New("no private dockerd can run here")

// RequireVariable makes ForTest fail where it would skip, when it is not empty.
const RequireVariable = "ZASTAVA_TEST_REQUIRE_DOCKER"

const (
	readyPoll = 25 * time.Millisecond // 20.10 takes 0.6 to 1 s
	stopLimit = 20 * time.Second
)

// Options of a private dockerd.
type Options struct {
	// Dir is absolute, short enough for a socket path, and the dockerd's own.
	Dir string
	// Release is the one to run. Zero: the installed one.
	Release Release
	// LiveRestore has containers outlive their daemon in its good grace (live-restore).
	LiveRestore bool
	// TLS, where it names certificates, has the daemon listen on TCP as well, at an address of loopback, and ask clients for
	// theirs (tlsverify). Address tells which.
	TLS TLS
}

// TLS names the files that a daemon on TCP has for its certificate.
type TLS struct{ CA, Cert, Key string }

// Docker is a private dockerd. Its daemon is stopped and started by one goroutine; Client may be used by many.
type Docker struct {
	daemon
	opts    Options
	address string // of TCP; "" = none
}

// Start starts a dockerd and loads the images of package privateruntime. When it fails nothing is left running; o.Dir stays, with
// the log in it, until WipeDir.
func Start(ctx context.Context, o Options) (*Docker, error) {
	o.Dir = filepath.Clean(o.Dir)
	path, programs, err := find(o.Release.BinDirs, "on Debian: apt-get install docker.io", "dockerd", "containerd", "runc")
	if err != nil {
		return nil, err
	}
	d := &Docker{daemon: daemon{name: "dockerd", dir: o.Dir, program: programs[0], path: path}, opts: o}
	if err := d.prepare("data", "exec"); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(o.Dir, "daemon.json"), []byte("{}\n"), 0o600); err != nil {
		return nil, fmt.Errorf("prepare dockerd in %s: %w", o.Dir, err)
	}
	if o.TLS != (TLS{}) {
		if d.address, err = freeAddress(ctx); err != nil {
			return nil, err
		}
	}
	d.args = d.arguments()
	if err := d.begin(ctx); err != nil {
		return nil, errors.Join(err, d.Kill(), d.client.Close())
	}
	return d, nil
}

func (d *Docker) arguments() []string {
	args := []string{
		"--config-file", filepath.Join(d.dir, "daemon.json"),
		"--data-root", filepath.Join(d.dir, "data"),
		"--exec-root", filepath.Join(d.dir, "exec"),
		"--pidfile", filepath.Join(d.dir, "dockerd.pid"),
		"--host", d.Endpoint(),
		"--cgroup-parent", cgroupOf(d.dir),
		"--exec-opt", "native.cgroupdriver=cgroupfs",
		"--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--userland-proxy=false",
	}
	if len(d.opts.Release.BinDirs) == 0 {
		args = append(args, "--storage-driver", "overlay2") // else the default of today, containerd's image store
	} else {
		args = append(args, "--seccomp-profile", "unconfined") // the runc that `make runtimes` builds has no libseccomp
	}
	if d.opts.LiveRestore {
		args = append(args, "--live-restore")
	}
	if d.address != "" {
		args = append(args, "--host", "tcp://"+d.address, "--tlsverify", "--tlscacert", d.opts.TLS.CA, "--tlscert", d.opts.TLS.Cert, "--tlskey", d.opts.TLS.Key)
	}
	return args
}

// Address is host:port of the daemon with TLS; "" without.
func (d *Docker) Address() string { return d.address }

func freeAddress(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("look for a free port for dockerd: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

// Kill ends the daemon with SIGKILL and waits for it. Its containerd dies with it; its containers live on, without anyone to
// watch them.
func (d *Docker) Kill() error {
	if err := d.daemon.Kill(); err != nil {
		return err
	}
	// Where the first process is no init, the containerd stays as a zombie, which the next dockerd takes for a living one.
	if err := os.Remove(filepath.Join(d.dir, "exec", "containerd", "containerd.pid")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("after SIGKILL to dockerd: %w", err)
	}
	return nil
}

// ForTest starts a dockerd for a test and wipes it at the test's end. It skips the test, naming what is missing, where none
// can run. o may say anything but Dir.
func ForTest(tb privateruntime.TB, o ...Options) *Docker {
	tb.Helper()
	var opts Options
	if len(o) > 0 {
		opts = o[0]
	}
	return forTest(tb, "dockerd", RequireVariable, func(ctx context.Context, dir string) (*Docker, error) {
		opts.Dir = dir
		return Start(ctx, opts)
	})
}
