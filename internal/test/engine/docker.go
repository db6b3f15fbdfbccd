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
	"testing"

	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/realruntime"
)

// Options of a private dockerd.
type Options struct {
	// Dir is absolute, short enough for the path of a socket, and the dockerd's own.
	Dir string
	// Release is the one to run. Zero for the installed one.
	Release realruntime.Release
	// LiveRestore makes containers outlive a daemon that is stopped (live-restore).
	LiveRestore bool
	// TLS, unless zero, makes the daemon also listen on TCP, on the loopback address that Address returns, and require a
	// certificate from clients (tlsverify).
	TLS TLS
}

// TLS names the files of the certificates of a daemon on TCP.
type TLS struct{ CA, Cert, Key string }

// Docker is a private dockerd. One goroutine stops and starts its daemon; any number may use Client.
type Docker struct {
	engine

	opts    Options
	address string // on TCP, empty without TLS
}

// Start starts a dockerd and loads the images of package privateruntime. When it fails nothing is left running; o.Dir stays, with
// the log in it, until WipeDir. The error wraps privateruntime.ErrUnavailable where this machine lacks something.
func Start(ctx context.Context, o Options) (*Docker, error) {
	found, err := privateruntime.FindPrograms(o.Release.BinDirs, "on Debian: apt-get install docker.io", "dockerd", "containerd", "runc")
	if err != nil {
		return nil, err
	}
	d := &Docker{opts: o}
	if err := d.prepare("dockerd", o.Dir, "data", "exec"); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(d.dir, "daemon.json"), []byte("{}\n"), 0o600); err != nil {
		return nil, fmt.Errorf("prepare dockerd in %s: %w", d.dir, err)
	}
	if o.TLS != (TLS{}) {
		if d.address, err = freeAddress(ctx); err != nil {
			return nil, err
		}
	}
	d.daemon.Program, d.daemon.Args, d.daemon.Env = found.Files["dockerd"], d.arguments(), []string{"PATH=" + found.Path}
	if err := d.start(ctx); err != nil {
		return nil, err
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
		args = append(args, "--storage-driver", "overlay2") // a built release uses its default, which is containerd's image store
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

// Address returns host:port of the daemon with TLS, empty without.
func (d *Docker) Address() string { return d.address }

func freeAddress(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port for dockerd: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

// Kill ends the daemon with SIGKILL and waits for it. Its containerd dies with it; its containers run on, unwatched.
func (d *Docker) Kill() error {
	if err := d.engine.Kill(); err != nil {
		return err
	}
	// Where the first process of the machine does not reap, the containerd stays as a zombie, and the next dockerd would believe
	// that it runs.
	if err := os.Remove(filepath.Join(d.dir, "exec", "containerd", "containerd.pid")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("after SIGKILL to dockerd: %w", err)
	}
	return nil
}

// ForTest starts a dockerd for a test and wipes it at the test's end; see realruntime.Start. It takes at most one Options, whose
// Dir it sets.
func ForTest(tb testing.TB, o ...Options) *Docker {
	tb.Helper()
	var opts Options
	if len(o) > 0 {
		opts = o[0]
	}
	return realruntime.Start(tb, realruntime.Kind[*Docker]{
		Name: "dockerd", Require: "ZASTAVA_TEST_REQUIRE_DOCKER", WipeDir: WipeDir,
		Start: func(ctx context.Context, dir string) (*Docker, error) {
			opts.Dir = dir
			return Start(ctx, opts)
		},
	})
}
