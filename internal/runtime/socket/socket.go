// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package socket connects to the Unix socket of a runtime if its owner is trusted.
//
// Whoever serves a socket decides what the observer believes about containers and their processes. A well-known path proves nothing:
// any local user may serve a socket of that name in a directory of their own. Therefore each connection, the first and every later
// one, requires of three things that they belong to root, to the user of this process or to the user whom the configuration names:
//
//   - the socket file;
//   - the process that serves it, by SO_PEERCRED (Linux only);
//   - every directory and symbolic link on the path; and a directory that everybody may write must be sticky.
//
// It does not judge groups: who belongs to the group of a runtime's socket is equivalent to root already.
package socket

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync/atomic"
)

// UntrustedError is the refusal of a socket because of its owner. Its text names the socket, the owner's uid and the remedy.
type UntrustedError struct {
	Path   string
	UID    uint32 // of the user who is not trusted
	fault  string
	remedy string
}

func (e *UntrustedError) Error() string {
	return "the socket " + e.Path + " is not trusted: " + e.fault + "; " + e.remedy
}

// Dialer connects to one socket. Several goroutines may use it.
type Dialer struct {
	path  string
	owner *uint32 // whom the configuration names; nil if it names nobody

	found   atomic.Int64 // 1 + the owner's uid at the first connection; 0 before it
	refused atomic.Pointer[UntrustedError]
}

// NewDialer returns the dialer of the socket at an absolute path. owner is the uid of the user whose runtime it is, nil for root and
// for the user of this process.
func NewDialer(path string, owner *uint32) *Dialer { return &Dialer{path: path, owner: owner} }

// Dial checks the socket and connects. An error is an *UntrustedError, or that of the system.
func (d *Dialer) Dial(ctx context.Context) (net.Conn, error) {
	conn, err := d.dial(ctx)
	var refused *UntrustedError
	if err != nil {
		refused, _ = err.(*UntrustedError) //nolint:errorlint // dial returns it bare
	}
	d.refused.Store(refused)
	return conn, err
}

// Refused returns why the latest attempt to connect was refused, nil if it was not. Clients that keep only the text of an error need it.
func (d *Dialer) Refused() error {
	if e := d.refused.Load(); e != nil {
		return e
	}
	return nil
}

// Foreign reports whether the runtime is of a user other than root and the user of this process.
func (d *Dialer) Foreign() bool { return Foreign(d.owner) }

// Foreign reports whether a configured owner is a user other than root and the user of this process.
func Foreign(owner *uint32) bool { return owner != nil && *owner != 0 && int(*owner) != os.Geteuid() }

// Owner returns the uid of the socket's owner; 0 before the first connection.
func (d *Dialer) Owner() uint32 { return uint32(max(d.found.Load()-1, 0)) }

func (d *Dialer) dial(ctx context.Context) (net.Conn, error) {
	who := trusted{owner: d.owner}
	uid, err := who.checkPath(d.path)
	if err != nil {
		return nil, err
	}
	if !d.found.CompareAndSwap(0, int64(uid)+1) && d.Owner() != uid {
		return nil, &UntrustedError{
			Path: d.path, UID: uid, fault: fmt.Sprintf("it belonged to uid %d before and belongs to uid %d now", d.Owner(), uid),
			remedy: "restart the collector if that is intended",
		}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", d.path)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if err := who.checkPeer(d.path, conn); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// remedyOwner is the remedy for a socket of an unknown user.
func remedyOwner(uid uint32) string {
	return "to observe this user's runtime, add its endpoint to runtimes with owner: " + strconv.FormatUint(uint64(uid), 10)
}
