// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package wipe

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
)

// Shims are the containerd shims of a runtime. containerd 1.6 to 2.x has their sockets in /run/containerd/s, whatever the daemon's
// own directories are, so they outlive those.
type Shims struct {
	Address   string // of containerd's socket: a path
	Namespace string // in containerd, such as k8s.io
	State     string // containerd's state directory, which has a bundle for each shim
}

// socket returns the path of the socket of the shim that was started for a container or sandbox. containerd's function SocketAddress
// (package runtime/v2/shim) makes this name.
func (s Shims) socket(id string) string {
	return fmt.Sprintf("/run/containerd/s/%x", sha256.Sum256([]byte(filepath.Join(s.Address, s.Namespace, id))))
}

// sockets returns the sockets that exist of the shims that have a bundle.
func (s Shims) sockets() []string {
	if s.State == "" {
		return nil
	}
	bundles, _ := filepath.Glob(filepath.Join(s.State, "io.containerd.runtime.v2.task", s.Namespace, "*")) // the pattern is well-formed
	var sockets []string
	for _, bundle := range bundles {
		socket := s.socket(filepath.Base(bundle))
		if _, err := os.Lstat(socket); err == nil {
			sockets = append(sockets, socket)
		}
	}
	return sockets
}
