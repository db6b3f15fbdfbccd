// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/evidence/procfs"
)

// A sampler that is started separately has the capabilities, and the collector needs none. It waits at a socket and starts a process
// for each connection, as the collector would, so that one that dies takes nothing along.

const dialTimeout = 5 * time.Second

// dial connects to a sampler that was started separately.
func dial(ctx context.Context, path string, config procfs.Config) (*peer, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	connection, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("connect to the sampler at %s: %w; start it with `%s %s PATH`", path, err, Name, commandListen)
	}
	if err := trusted(connection); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to the sampler at %s: %w", path, err), connection.Close())
	}
	socket, ok := connection.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("connect to the sampler at %s: not a Unix socket", path), connection.Close())
	}
	return newPeer(ctx, socket, socket, nil, config)
}

// trusted reports an error if the process at the other end is neither root's nor of our own user: it would get to decide what containers
// run, or to read what they do.
func trusted(connection net.Conn) error {
	socket, ok := connection.(*net.UnixConn)
	if !ok {
		return errors.New("not a Unix socket")
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return err
	}
	if failed != nil {
		return fmt.Errorf("read the credentials of the other side: %w", failed)
	}
	if uid := peer.Uid; uid != 0 && int(uid) != os.Geteuid() {
		return fmt.Errorf("the process %d at the other side belongs to user %d; only root and user %d are trusted", peer.Pid, uid, os.Geteuid())
	}
	return nil
}

// listen serves connections at a socket until a signal ends it. The socket is made with mode 0660: its group, which a service manager can
// set, may connect. args are the path, and optionally the user id that may connect besides root and our own.
func listen(args []string) error {
	if len(args) != 1 || !filepath.IsAbs(args[0]) {
		return fmt.Errorf("%s takes one absolute path", commandListen)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	path := args[0]
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == os.ModeSocket {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove the socket of an earlier sampler: %w", err)
		}
	}
	before := syscall.Umask(0o117)
	listener, err := net.Listen("unix", path)
	syscall.Umask(before)
	if err != nil {
		return fmt.Errorf("listen at %s: %w", path, err)
	}
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	files := newFileMemory()
	for {
		connection, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept at %s: %w", path, err)
		}
		serveConnection(connection, files)
	}
}

// serveConnection starts a process for one connection and waits for its end: one collector at a time.
func serveConnection(connection net.Conn, files *fileMemory) {
	defer func() { _ = connection.Close() }()
	err := trusted(connection)
	var file *os.File
	if socket, ok := connection.(*net.UnixConn); ok && err == nil {
		file, err = socket.File()
	}
	var c *child
	if err == nil {
		defer func() { _ = file.Close() }()
		c, err = newChild(file, file, files.file, 0)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", Name, err)
		return
	}
	_, _ = file.Close(), connection.Close()
	<-c.exited
	fmt.Fprintf(os.Stderr, "%s: a connection ended: %s\n", Name, c.outcome())
}
