// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/runtime/cri"
)

// answerLimit is how long a runtime may take to return its version. A healthy one needs a millisecond.
const answerLimit = 3 * time.Second

// wellKnownSockets are where CRI runtimes listen by default.
var wellKnownSockets = []string{
	"/run/containerd/containerd.sock",
	"/run/crio/crio.sock",
	"/var/run/crio/crio.sock",
	"/run/k3s/containerd/containerd.sock",
	"/run/k0s/containerd.sock",
	"/var/snap/microk8s/common/run/containerd.sock",
	"/run/cri-dockerd.sock",
}

// found is a runtime that answers.
type found struct{ endpoint, engine, version string }

// ask requests the version of the runtime at an endpoint. It fails if no process listens there, and for a daemon without CRI, such as
// Docker's own containerd.
func ask(ctx context.Context, endpoint string) (found, error) {
	r, err := cri.New(cri.Options{Endpoint: endpoint, Timeout: answerLimit})
	if err != nil {
		return found{}, err
	}
	info, err := r.Info(ctx)
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	return found{endpoint, info.Engine, info.Version}, err
}

// findRuntime returns the first runtime that answers on one of the sockets, or nil. The error is not nil only if none answers and this user
// has no access to a socket.
func findRuntime(ctx context.Context, sockets []string) (*found, error) {
	var closed error
	asked := map[string]bool{}
	for _, socket := range sockets {
		target, err := filepath.EvalSymlinks(socket)
		switch {
		case errors.Is(err, os.ErrPermission):
			closed = closedSocket(socket)
			continue
		case err != nil || asked[target]:
			continue
		}
		asked[target] = true
		if s, err := os.Stat(target); err != nil || s.Mode().Type() != os.ModeSocket {
			continue
		}
		if errors.Is(unix.Access(target, unix.W_OK), os.ErrPermission) {
			closed = closedSocket(socket)
			continue
		}
		if f, err := ask(ctx, "unix://"+target); err == nil {
			return &f, nil
		}
	}
	return nil, closed
}

func closedSocket(socket string) error {
	return fmt.Errorf("this user has no access to the socket %s: run `sudo make run`", socket)
}
