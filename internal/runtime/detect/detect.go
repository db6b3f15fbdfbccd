// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package detect finds the container runtimes of a node by their well-known sockets.
//
// It looks at files only; it connects to nothing (on Windows a pipe is opened and closed, since there is no other way to
// tell that it exists). One socket is one runtime, however many names, links and mounts lead to it. A socket that appears
// later is found by looking again: a look costs a few dozen stat calls.
//
// What a socket is called says what probably listens there, not what does: a containerd that Docker started has its CRI
// plugin off, and answers with runtime.ErrNotSupported.
package detect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	securejoin "github.com/cyphar/filepath-securejoin"
)

// Runtime is a runtime's socket. Engine is what to speak with it: containerd, cri-o, cri or docker.
type Runtime struct {
	Name     string // unique among what one look finds: containerd, k3s, cri-o, docker, podman-1000, …
	Engine   string
	Endpoint string // unix:///… or npipe:////./pipe/…
}

// FileSystem is what detection needs of a machine.
type FileSystem interface {
	securejoin.VFS
	// ReadDir lists a directory, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Pipe tells whether a named pipe exists. False where there are none.
	Pipe(name string) bool
}

// candidate is a place where a runtime may listen. What is in /run is looked for in /var/run too, which is the same
// directory on a host, but need not be in a container.
type candidate struct{ name, engine, path string }

// sockets are the well-known places, in the order of the result. What has the better name for a shared socket comes first:
// Podman puts a link at Docker's place.
var sockets = []candidate{
	{"containerd", "containerd", "/run/containerd/containerd.sock"},
	{"k3s", "containerd", "/run/k3s/containerd/containerd.sock"}, // RKE2's is there as well
	{"k0s", "containerd", "/run/k0s/containerd.sock"},
	{"microk8s", "containerd", "/var/snap/microk8s/common/run/containerd.sock"},
	{"cri-o", "cri-o", "/run/crio/crio.sock"},
	{"cri-dockerd", "cri", "/run/cri-dockerd.sock"},
	{"podman", "docker", "/run/podman/podman.sock"},
	{"docker", "docker", "/run/docker.sock"},
}

// users is where each logged-in user's own sockets are, below a directory named for the user's number.
const users = "/run/user"

var userSockets = []candidate{
	{"podman", "docker", "podman/podman.sock"},
	{"docker", "docker", "docker.sock"},
}

// maxUsers bounds how many users' sockets are looked for.
const maxUsers = 256

var pipes = []candidate{
	{"containerd", "containerd", "//./pipe/containerd-containerd"},
	{"cri-dockerd", "cri", "//./pipe/cri-dockerd"},
	{"docker", "docker", "//./pipe/docker_engine"},
}

// Runtimes finds the runtimes of this machine below root, which is where the host's root directory is mounted: "/" or ""
// when this process sees the host's own, for example "/host" in a container. Links are resolved inside root, as the host
// would. On Windows only pipes are looked for, whatever root is. The order is always the same. The error tells of places that could not be looked at, such as directories without
// permission; what was found elsewhere is given all the same.
func Runtimes(fsys FileSystem, root string) ([]Runtime, error) {
	l := look{fsys: fsys, root: root}
	if l.root == "" {
		l.root = "/"
	}
	if hasSockets {
		l.sockets()
	}
	for _, c := range pipes {
		if fsys.Pipe(c.path) {
			l.found = append(l.found, Runtime{Name: l.unique(c.name), Engine: c.engine, Endpoint: "npipe://" + c.path})
		}
	}
	return l.found, errors.Join(l.errs...)
}

// look is one look at a machine.
type look struct {
	fsys  FileSystem
	root  string
	found []Runtime
	files []fs.FileInfo // of the sockets found, to tell aliases by
	errs  []error
}

func (l *look) sockets() {
	for _, c := range sockets {
		l.socket(c)
		if rest, ok := strings.CutPrefix(c.path, "/run/"); ok {
			c.path = "/var/run/" + rest
			l.socket(c)
		}
	}
	l.userSockets()
}

// socket adds a candidate if it is a socket that is not there yet under another name.
func (l *look) socket(c candidate) {
	full, err := securejoin.SecureJoinVFS(l.root, c.path, l.fsys)
	if err != nil {
		l.fail(c.path, err)
		return
	}
	file, err := l.fsys.Lstat(full)
	if err != nil {
		l.fail(c.path, err)
		return
	}
	if file.Mode()&fs.ModeSocket == 0 {
		return
	}
	for _, other := range l.files {
		if os.SameFile(file, other) {
			return
		}
	}
	l.files = append(l.files, file)
	l.found = append(l.found, Runtime{Name: l.unique(c.name), Engine: c.engine, Endpoint: "unix://" + full})
}

func (l *look) userSockets() {
	full, err := securejoin.SecureJoinVFS(l.root, users, l.fsys)
	if err != nil {
		l.fail(users, err)
		return
	}
	dirs, err := l.fsys.ReadDir(full)
	if err != nil {
		l.fail(users, err)
		return
	}
	if len(dirs) > maxUsers {
		l.errs = append(l.errs, fmt.Errorf("look for runtimes in %s: only the first %d of %d users are looked at", users, maxUsers, len(dirs)))
		dirs = dirs[:maxUsers]
	}
	for _, dir := range dirs {
		for _, c := range userSockets {
			l.socket(candidate{c.name + "-" + dir.Name(), c.engine, path.Join(users, dir.Name(), c.path)})
		}
	}
}

// unique makes a name that no other found runtime has: two sockets in /run and /var/run may really be two.
func (l *look) unique(name string) string {
	taken := func(n string) bool {
		for _, f := range l.found {
			if f.Name == n {
				return true
			}
		}
		return false
	}
	for i := 2; taken(name) && i < 100; i++ {
		if n := fmt.Sprintf("%s-%d", name, i); !taken(n) {
			return n
		}
	}
	return name
}

// fail takes note of a place that could not be looked at. That nothing is there is no failure.
func (l *look) fail(place string, err error) {
	if !errors.Is(err, fs.ErrNotExist) && !isNotDirectory(err) {
		l.errs = append(l.errs, fmt.Errorf("look for a runtime at %s below %s: %w", place, l.root, err))
	}
}
