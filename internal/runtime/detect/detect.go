// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package detect finds the container runtimes of a node by their well-known sockets.
//
// It only reads file metadata and does not connect (on Windows it opens and closes pipes, because there is no other way to check
// that a pipe exists). A socket is reported once, even if several names, links or mounts lead to it. A socket that appears later
// is found by the next call, which costs a few dozen stat calls.
//
// A socket in the directory of a user may be anybody's creation: it is searched only if that is requested, and reported with the uid of
// that user. Who really owns a socket is checked at each connection, by package socket.
//
// The name of a socket only suggests which runtime listens there. For example, a containerd that Docker started has its CRI
// plugin disabled and returns runtime.ErrNotSupported.
package detect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	securejoin "github.com/cyphar/filepath-securejoin"
)

// Runtime is the socket or pipe of a runtime.
type Runtime struct {
	Name     string // unique in the result of one call: containerd, k3s, cri-o, docker, podman-1000, …
	Engine   string // the API to use: containerd, cri-o, cri or docker
	Endpoint string // unix:///… or npipe:////./pipe/…
	// Owner is the uid of the user whose runtime it should be, by the directory of the socket; 0 for root. The file may be another user's.
	Owner uint32
}

// FileSystem is the access to a machine that detection needs.
type FileSystem interface {
	securejoin.VFS
	// ReadDir lists a directory, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Pipe reports whether a named pipe exists. It is false on systems without named pipes.
	Pipe(name string) bool
}

// candidate is a path at which a runtime may listen. A path in /run is also searched in /var/run, which is the same directory
// on a host but not always in a container.
type candidate struct {
	name, engine, path string
	owner              uint32
}

// sockets are the well-known paths, in the order of the result. For a socket with several paths, the path with the better name
// comes first: Podman creates a link at Docker's path.
var sockets = []candidate{
	{name: "containerd", engine: "containerd", path: "/run/containerd/containerd.sock"},
	{name: "k3s", engine: "containerd", path: "/run/k3s/containerd/containerd.sock"}, // also RKE2's
	{name: "k0s", engine: "containerd", path: "/run/k0s/containerd.sock"},
	{name: "microk8s", engine: "containerd", path: "/var/snap/microk8s/common/run/containerd.sock"},
	{name: "cri-o", engine: "cri-o", path: "/run/crio/crio.sock"},
	{name: "cri-dockerd", engine: "cri", path: "/run/cri-dockerd.sock"},
	{name: "podman", engine: "docker", path: "/run/podman/podman.sock"},
	{name: "docker", engine: "docker", path: "/run/docker.sock"},
}

// usersDir contains a directory for each logged-in user, named by the user id, with the user's own sockets.
const usersDir = "/run/user"

var userSockets = []candidate{
	{name: "podman", engine: "docker", path: "podman/podman.sock"},
	{name: "docker", engine: "docker", path: "docker.sock"},
}

// Options select what is searched.
type Options struct {
	// Root is the directory at which the host's root directory is mounted: "/" or "" if this process uses it directly, for example
	// "/host" in a container. Links are resolved inside it, as on the host.
	Root string
	// Users has the sockets of logged-in users searched too. Any of them may serve one, and decides what it reports.
	Users bool
}

// maxUsers is the maximum number of users whose sockets are searched.
const maxUsers = 256

var pipes = []candidate{
	{name: "containerd", engine: "containerd", path: "//./pipe/containerd-containerd"},
	{name: "cri-dockerd", engine: "cri", path: "//./pipe/cri-dockerd"},
	{name: "docker", engine: "docker", path: "//./pipe/docker_engine"},
}

// Runtimes returns the runtimes of this machine. On Windows it searches only pipes and ignores the options. The order is always the
// same. The error lists paths that could not be checked, such as directories without permission; the result contains the runtimes of
// all other paths.
func Runtimes(fsys FileSystem, o Options) ([]Runtime, error) {
	s := search{fsys: fsys, root: o.Root, users: o.Users}
	if s.root == "" {
		s.root = "/"
	}
	if hasSockets {
		s.sockets()
	}
	for _, c := range pipes {
		if fsys.Pipe(c.path) {
			s.found = append(s.found, Runtime{Name: s.unique(c.name), Engine: c.engine, Endpoint: "npipe://" + c.path})
		}
	}
	return s.found, errors.Join(s.errs...)
}

// search is the state of one call of Runtimes.
type search struct {
	fsys  FileSystem
	root  string
	users bool
	found []Runtime
	files []fs.FileInfo // of the sockets in found, to detect aliases
	errs  []error
}

func (s *search) sockets() {
	for _, c := range sockets {
		s.socket(c)
		if rest, ok := strings.CutPrefix(c.path, "/run/"); ok {
			c.path = "/var/run/" + rest
			s.socket(c)
		}
	}
	if s.users {
		s.userSockets()
	}
}

// socket adds a candidate if it is a socket that was not found yet under another name.
func (s *search) socket(c candidate) {
	full, err := securejoin.SecureJoinVFS(s.root, c.path, s.fsys)
	if err != nil {
		s.fail(c.path, err)
		return
	}
	file, err := s.fsys.Lstat(full)
	if err != nil {
		s.fail(c.path, err)
		return
	}
	if file.Mode()&fs.ModeSocket == 0 {
		return
	}
	for _, other := range s.files {
		if os.SameFile(file, other) {
			return
		}
	}
	s.files = append(s.files, file)
	s.found = append(s.found, Runtime{Name: s.unique(c.name), Engine: c.engine, Endpoint: "unix://" + full, Owner: c.owner})
}

func (s *search) userSockets() {
	full, err := securejoin.SecureJoinVFS(s.root, usersDir, s.fsys)
	if err != nil {
		s.fail(usersDir, err)
		return
	}
	dirs, err := s.fsys.ReadDir(full)
	if err != nil {
		s.fail(usersDir, err)
		return
	}
	if len(dirs) > maxUsers {
		s.errs = append(s.errs, fmt.Errorf("search for runtimes in %s: only the first %d of %d users are searched", usersDir, maxUsers, len(dirs)))
		dirs = dirs[:maxUsers]
	}
	for _, dir := range dirs {
		uid, err := strconv.ParseUint(dir.Name(), 10, 32)
		if err != nil {
			continue
		}
		for _, c := range userSockets {
			s.socket(candidate{c.name + "-" + dir.Name(), c.engine, path.Join(usersDir, dir.Name(), c.path), uint32(uid)})
		}
	}
}

// unique returns name, with a number if a found runtime already has it: /run and /var/run may contain different sockets.
func (s *search) unique(name string) string {
	taken := func(n string) bool {
		for _, f := range s.found {
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

// fail records an error, except if it means that the path does not exist.
func (s *search) fail(path string, err error) {
	if !errors.Is(err, fs.ErrNotExist) && !isNotDirectory(err) {
		s.errs = append(s.errs, fmt.Errorf("search for a runtime at %s below %s: %w", path, s.root, err))
	}
}
