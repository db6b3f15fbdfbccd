// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package detect

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// host is the root directory of a host, with real files and sockets.
type host struct {
	t    *testing.T
	root string
}

func newHost(t *testing.T) host {
	t.Helper()
	root, err := os.MkdirTemp("", "host") //nolint:usetesting // a test's own directory has too long a name for a socket
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	root, err = filepath.EvalSymlinks(root)
	require.NoError(t, err)
	return host{t, root}
}

func (h host) socket(path string) {
	h.t.Helper()
	full := h.parent(path)
	l, err := (&net.ListenConfig{}).Listen(h.t.Context(), "unix", full)
	require.NoError(h.t, err)
	h.t.Cleanup(func() { _ = l.Close() })
}

func (h host) parent(path string) string {
	h.t.Helper()
	full := filepath.Join(h.root, path)
	require.NoError(h.t, os.MkdirAll(filepath.Dir(full), 0o755))
	return full
}

func (h host) link(path, target string) {
	h.t.Helper()
	require.NoError(h.t, os.Symlink(target, h.parent(path)))
}

func (h host) find() []Runtime {
	h.t.Helper()
	found, err := Runtimes(Machine{}, Options{Root: h.root, Users: true})
	require.NoError(h.t, err)
	for i := range found { // as on the host
		found[i].Endpoint = "unix://" + found[i].Endpoint[len("unix://"+h.root):]
	}
	return found
}

func TestRuntimesFindsWellKnownSocketsInOrder(t *testing.T) {
	h := newHost(t)
	for _, path := range []string{
		"/run/docker.sock", "/run/podman/podman.sock", "/run/cri-dockerd.sock", "/run/crio/crio.sock",
		"/var/snap/microk8s/common/run/containerd.sock", "/run/k0s/containerd.sock", "/run/k3s/containerd/containerd.sock",
		"/run/containerd/containerd.sock", "/run/user/1000/podman/podman.sock", "/run/user/1001/docker.sock",
	} {
		h.socket(path)
	}
	h.link("/var/run", "/run")
	assert.Equal(t, []Runtime{
		{"containerd", "containerd", "unix:///run/containerd/containerd.sock", 0},
		{"k3s", "containerd", "unix:///run/k3s/containerd/containerd.sock", 0},
		{"k0s", "containerd", "unix:///run/k0s/containerd.sock", 0},
		{"microk8s", "containerd", "unix:///var/snap/microk8s/common/run/containerd.sock", 0},
		{"cri-o", "cri-o", "unix:///run/crio/crio.sock", 0},
		{"cri-dockerd", "cri", "unix:///run/cri-dockerd.sock", 0},
		{"podman", "docker", "unix:///run/podman/podman.sock", 0},
		{"docker", "docker", "unix:///run/docker.sock", 0},
		{"podman-1000", "docker", "unix:///run/user/1000/podman/podman.sock", 1000},
		{"docker-1001", "docker", "unix:///run/user/1001/docker.sock", 1001},
	}, h.find())
}

func TestRuntimesIgnoresSocketsOfUsersUnlessTheyAreRequested(t *testing.T) {
	h := newHost(t)
	h.socket("/run/user/1000/docker.sock")
	h.socket("/run/user/alice/docker.sock")
	found, err := Runtimes(Machine{}, Options{Root: h.root})
	require.NoError(t, err)
	assert.Empty(t, found)
	assert.Equal(t, []Runtime{{"docker-1000", "docker", "unix:///run/user/1000/docker.sock", 1000}}, h.find())
}

func TestRuntimesReportsEachSocketOnce(t *testing.T) {
	t.Run("a link of the host is resolved inside its root", func(t *testing.T) {
		h := newHost(t)
		h.socket("/run/containerd/containerd.sock")
		h.link("/var/run", "/run")
		assert.Len(t, h.find(), 1)
	})
	t.Run("only /var/run is mounted", func(t *testing.T) {
		h := newHost(t)
		h.socket("/var/run/crio/crio.sock")
		assert.Equal(t, []Runtime{{"cri-o", "cri-o", "unix:///var/run/crio/crio.sock", 0}}, h.find())
	})
	t.Run("the same file under another name", func(t *testing.T) {
		h := newHost(t)
		h.socket("/run/containerd/containerd.sock")
		require.NoError(t, os.Link(filepath.Join(h.root, "/run/containerd/containerd.sock"), h.parent("/run/k3s/containerd/containerd.sock")))
		assert.Equal(t, []Runtime{{"containerd", "containerd", "unix:///run/containerd/containerd.sock", 0}}, h.find())
	})
	t.Run("Podman at Docker's place", func(t *testing.T) {
		h := newHost(t)
		h.socket("/run/podman/podman.sock")
		h.link("/run/docker.sock", "/run/podman/podman.sock")
		assert.Equal(t, []Runtime{{"podman", "docker", "unix:///run/podman/podman.sock", 0}}, h.find())
	})
	t.Run("two sockets of one name are two", func(t *testing.T) {
		h := newHost(t)
		h.socket("/run/crio/crio.sock")
		h.socket("/var/run/crio/crio.sock")
		found := h.find()
		require.Len(t, found, 2)
		assert.Equal(t, "cri-o", found[0].Name)
		assert.Equal(t, "cri-o-2", found[1].Name)
	})
}

func TestRuntimesIgnoresOtherFiles(t *testing.T) {
	h := newHost(t)
	assert.Empty(t, h.find(), "an empty host")
	require.NoError(t, os.WriteFile(h.parent("/run/containerd/containerd.sock"), nil, 0o600))
	require.NoError(t, os.WriteFile(h.parent("/run/crio"), nil, 0o600))
	require.NoError(t, os.MkdirAll(filepath.Join(h.root, "/run/docker.sock"), 0o755))
	h.link("/run/k0s/containerd.sock", "/run/k0s/containerd.sock.missing")
	assert.Empty(t, h.find())
}

func TestRuntimesResolvesLinksInsideRoot(t *testing.T) {
	outside := newHost(t)
	outside.socket("/c.sock")
	h := newHost(t)
	h.link("/run/containerd/containerd.sock", filepath.Join("/../../../..", outside.root, "c.sock"))
	assert.Empty(t, h.find())
}

func TestRuntimesFindsSocketThatAppearsLater(t *testing.T) {
	h := newHost(t)
	assert.Empty(t, h.find())
	h.socket("/run/containerd/containerd.sock")
	assert.Len(t, h.find(), 1)
}

// faulty is a machine with an access error and with pipes.
type faulty struct {
	Machine
	denied string
	pipes  map[string]bool
}

func (o faulty) Lstat(name string) (fs.FileInfo, error) {
	if o.denied != "" && name == o.denied {
		return nil, &fs.PathError{Op: "lstat", Path: name, Err: fs.ErrPermission}
	}
	return o.Machine.Lstat(name)
}

func (o faulty) Pipe(name string) bool { return o.pipes[name] }

func TestRuntimesReportsErrorWhenAccessIsDenied(t *testing.T) {
	h := newHost(t)
	h.socket("/run/containerd/containerd.sock")
	h.socket("/run/crio/crio.sock")
	found, err := Runtimes(faulty{denied: filepath.Join(h.root, "/run/containerd/containerd.sock")}, Options{Root: h.root})
	require.ErrorIs(t, err, fs.ErrPermission)
	require.Len(t, found, 1, "the other is found all the same")
	assert.Equal(t, "cri-o", found[0].Name)
}

func TestRuntimesFindsPipes(t *testing.T) {
	h := newHost(t)
	found, err := Runtimes(faulty{pipes: map[string]bool{
		"//./pipe/docker_engine": true, "//./pipe/containerd-containerd": true,
	}}, Options{Root: h.root})
	require.NoError(t, err)
	assert.Equal(t, []Runtime{
		{"containerd", "containerd", "npipe:////./pipe/containerd-containerd", 0},
		{"docker", "docker", "npipe:////./pipe/docker_engine", 0},
	}, found)
}

func TestRuntimesSucceedsOnThisMachine(t *testing.T) {
	_, err := Runtimes(Machine{}, Options{Users: true})
	if os.Geteuid() != 0 && errors.Is(err, fs.ErrPermission) {
		t.Skip(err)
	}
	require.NoError(t, err)
}
