// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package socket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks is the number of symbolic links that one path may lead through, as Linux has it.
const maxLinks = 40

// trusted decides which users are trusted with one socket.
type trusted struct{ owner *uint32 }

func (t trusted) user(uid uint32) bool {
	return uid == 0 || uid == uint32(os.Geteuid()) || (t.owner != nil && uid == *t.owner)
}

// checkPath checks each part of a path and returns the owner of the socket at its end.
func (t trusted) checkPath(path string) (owner uint32, err error) {
	at, rest, links := "/", path, 0
	for {
		info, err := os.Lstat(at)
		if err != nil {
			return 0, fmt.Errorf("find the socket: %w", err)
		}
		uid := uidOf(info)
		if !t.user(uid) {
			return 0, t.refuse(path, at, uid, info)
		}
		switch kind := info.Mode().Type(); {
		case kind == fs.ModeSymlink:
			if links++; links > maxLinks {
				return 0, fmt.Errorf("find the socket: %w", &fs.PathError{Op: "open", Path: path, Err: syscall.ELOOP})
			}
			target, err := os.Readlink(at)
			if err != nil {
				return 0, fmt.Errorf("find the socket: %w", err)
			}
			rest = target + "/" + rest
			if at = filepath.Dir(at); filepath.IsAbs(target) {
				at = "/"
			}
		case kind == fs.ModeDir && info.Mode()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0:
			return 0, &UntrustedError{
				Path: path, UID: uid, fault: fmt.Sprintf("everybody may write to %s and so replace it", at), remedy: "remove that right: chmod o-w " + at,
			}
		case kind == fs.ModeSocket && strings.Trim(rest, "/.") == "":
			return uid, t.checkOwner(path, uid)
		case kind != fs.ModeDir:
			return 0, fmt.Errorf("find the socket: %s: %w", at, errNoSocket)
		}
		var next string
		if next, rest = cut(rest); next == "" {
			return 0, fmt.Errorf("find the socket: %s: %w", at, errNoSocket)
		}
		at = filepath.Join(at, next)
	}
}

// errNoSocket is the kernel's answer to a connection to a file of another kind.
var errNoSocket = fmt.Errorf("it is not a socket: %w", syscall.ECONNREFUSED)

// cut returns the first component of a path and the rest.
func cut(path string) (first, rest string) {
	first, rest, _ = strings.Cut(strings.TrimLeft(path, "/"), "/")
	return first, rest
}

// checkOwner requires that the socket belongs to the user whom the configuration names.
func (t trusted) checkOwner(path string, uid uint32) error {
	if t.owner == nil || *t.owner == uid {
		return nil
	}
	return &UntrustedError{
		Path: path, UID: uid, fault: fmt.Sprintf("it belongs to uid %d, and owner: %d is configured", uid, *t.owner),
		remedy: fmt.Sprintf("correct owner to %d, or remove it for 0", uid),
	}
}

func (t trusted) refuse(path, at string, uid uint32, info fs.FileInfo) error {
	what := "it"
	if info.Mode().Type() != fs.ModeSocket {
		what = "its parent " + at
	}
	return &UntrustedError{
		Path: path, UID: uid, remedy: remedyOwner(uid),
		fault: fmt.Sprintf("%s belongs to uid %d, which is neither root nor the collector's user", what, uid),
	}
}

// checkPeer requires that a trusted user serves the socket.
func (t trusted) checkPeer(path string, conn net.Conn) error {
	uid, err := peerOf(conn)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find out who serves the socket: %w", err)
	}
	if t.user(uid) {
		return nil
	}
	return &UntrustedError{
		Path: path, UID: uid, remedy: remedyOwner(uid),
		fault: fmt.Sprintf("it is served by uid %d, which is neither root nor the collector's user", uid),
	}
}

func uidOf(info fs.FileInfo) uint32 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Uid
	}
	return 0
}
