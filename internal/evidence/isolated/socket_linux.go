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
	"strconv"
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

// listen serves connections at a socket until a signal ends it. Its arguments are the path and, optionally, the id of a group. The socket's
// mode is 0660: besides the sampler's own user, the group may connect.
func listen(args []string) error {
	path, group, err := listenArguments(args)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	if err := removeSocket(path); err != nil {
		return err
	}
	before := unix.Umask(0o117)
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	unix.Umask(before)
	if err != nil {
		return fmt.Errorf("listen at %s: %w", path, err)
	}
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	if group >= 0 {
		if err := os.Lchown(path, -1, group); err != nil {
			return errors.Join(fmt.Errorf("give the socket to group %d: %w", group, err), listener.Close())
		}
	}
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

// removeSocket removes what an earlier sampler left. The path is the operator's own argument.
func removeSocket(path string) error {
	info, err := os.Lstat(path) //nolint:gosec // see above
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return nil //nolint:nilerr // listening says what is wrong with it
	}
	if err := os.Remove(path); err != nil { //nolint:gosec // see above
		return fmt.Errorf("remove the socket of an earlier sampler: %w", err)
	}
	return nil
}

func listenArguments(args []string) (path string, group int, err error) {
	if len(args) < 1 || len(args) > 2 || !filepath.IsAbs(args[0]) {
		return "", 0, fmt.Errorf("%s takes an absolute path and, optionally, the id of a group that may connect", commandListen)
	}
	if len(args) == 1 {
		return args[0], -1, nil
	}
	id, err := strconv.ParseUint(args[1], 10, 31)
	if err != nil {
		return "", 0, fmt.Errorf("%s: group %q is not a number", commandListen, args[1])
	}
	return args[0], int(id), nil
}

// serveConnection starts a process for one connection and waits for its end: one collector at a time.
func serveConnection(connection net.Conn, files *fileMemory) {
	c, err := childOf(connection, files)
	_ = connection.Close() // the process has its own
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", Name, err)
		return
	}
	<-c.exited
	fmt.Fprintf(os.Stderr, "%s: a connection ended: %s\n", Name, c.outcome())
}

// childOf starts a process whose input and output is the connection. Its share of CPU time is the collector's to say, so that the guard
// ends it only when it uses more than a core.
func childOf(connection net.Conn, files *fileMemory) (*child, error) {
	socket, ok := connection.(*net.UnixConn)
	if !ok {
		return nil, errors.New("not a Unix socket")
	}
	file, err := socket.File()
	if err != nil {
		return nil, fmt.Errorf("hand over a connection: %w", err)
	}
	defer func() { _ = file.Close() }()
	return newChild(file, file, files.file, 1)
}
