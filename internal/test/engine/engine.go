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
	"path/filepath"
	"syscall"
	"time"

	"github.com/moby/moby/client"

	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/privateruntime/daemon"
)

// stopLimit is how long Wipe waits for a daemon to end after SIGTERM.
const stopLimit = 20 * time.Second

// maxSocketPath keeps a margin below the 107 bytes that the path of a socket may have (unix(7)): Podman adds to it.
const maxSocketPath = 90

// engine is what dockerd and Podman's service have in common: a daemon in a directory of its own that listens on a socket.
type engine struct {
	dir    string
	daemon daemon.Daemon
	client *client.Client
}

// prepare makes the directory with these subdirectories, and the client.
func (e *engine) prepare(name, dir string, subdirs ...string) (err error) {
	e.dir = filepath.Clean(dir)
	e.daemon.Name, e.daemon.Dir, e.daemon.LogFile = name, e.dir, filepath.Join(e.dir, name+".log")
	if !filepath.IsAbs(e.dir) || len(e.socketPath()) > maxSocketPath {
		return fmt.Errorf("start %s in %q: choose an absolute and shorter directory", name, e.dir)
	}
	for _, subdir := range subdirs {
		if err := os.MkdirAll(filepath.Join(e.dir, subdir), 0o700); err != nil {
			return fmt.Errorf("prepare %s in %s: %w", name, e.dir, err)
		}
	}
	if e.client, err = client.New(client.WithHost(e.Endpoint())); err != nil {
		return fmt.Errorf("prepare the client of %s: %w", name, err)
	}
	return nil
}

// start starts the daemon and loads the images. When it fails it ends the daemon and closes the client.
func (e *engine) start(ctx context.Context) error {
	err := func() error {
		cache, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("find a directory for the test images: %w", err)
		}
		archive, err := privateruntime.BuildImages(ctx, filepath.Join(cache, "zastava-privateruntime"))
		if err != nil {
			return err
		}
		if err := e.launch(ctx); err != nil {
			return err
		}
		return e.load(ctx, archive)
	}()
	if err != nil {
		return errors.Join(err, e.Kill(), e.client.Close())
	}
	return nil
}

func (e *engine) launch(ctx context.Context) error {
	return e.daemon.Launch(ctx, func(ctx context.Context) error {
		_, err := e.client.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true})
		return err
	})
}

func (e *engine) load(ctx context.Context, archive string) error {
	f, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("open the test images: %w", err)
	}
	defer func() { _ = f.Close() }()
	answer, err := e.client.ImageLoad(ctx, f)
	if err != nil {
		return fmt.Errorf("load the test images: %w", err)
	}
	defer func() { _ = answer.Close() }()
	if _, err := io.Copy(io.Discard, answer); err != nil {
		return fmt.Errorf("load the test images: %w", err)
	}
	return nil
}

func (e *engine) socketPath() string { return filepath.Join(e.dir, "d.sock") }

// Endpoint returns the address in the form in which runtimes are configured: unix:///….
func (e *engine) Endpoint() string { return "unix://" + e.socketPath() }

// Client returns a client of the daemon. It survives restarts of the daemon; Wipe closes it.
func (e *engine) Client() *client.Client { return e.client }

// CgroupParent returns the parent of the cgroups of this daemon's containers. For Podman each container has to be created with it.
func (e *engine) CgroupParent() string { return cgroupOf(e.dir) }

// LogTail returns the last n lines of the daemon's log, for error messages.
func (e *engine) LogTail(n int) string { return e.daemon.LogTail(n) }

// Stop ends the daemon with SIGTERM and waits for it. dockerd then stops its containers, unless live-restore is on.
func (e *engine) Stop(ctx context.Context) error { return e.daemon.End(ctx, syscall.SIGTERM) }

// Kill ends the daemon with SIGKILL and waits for it.
func (e *engine) Kill() error { return e.daemon.End(context.Background(), syscall.SIGKILL) }

// Restart starts the daemon again, and stops it first when it runs.
func (e *engine) Restart(ctx context.Context) error {
	if err := e.Stop(ctx); err != nil {
		return err
	}
	return e.launch(ctx)
}

// Wipe ends the daemon and then does what WipeDir does. The engine cannot be used afterwards.
func (e *engine) Wipe(ctx context.Context) error {
	stopping, cancel := context.WithTimeout(ctx, stopLimit)
	err := e.Stop(stopping)
	cancel()
	if err != nil {
		err = e.Kill()
	}
	return errors.Join(err, e.client.Close(), WipeDir(ctx, e.dir))
}
