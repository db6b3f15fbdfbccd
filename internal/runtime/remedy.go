// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
)

// ConnectRemedy returns what a user can do about err, with which a connection to endpoint failed, or "" if the cause is
// another one. server is the noun for what listens there: runtime or engine.
func ConnectRemedy(err error, endpoint, server string) string {
	pipe := strings.HasPrefix(endpoint, "npipe:")
	switch {
	case errors.Is(err, fs.ErrNotExist) && pipe:
		return "the pipe does not exist: the " + server + " is not running, or it serves another pipe"
	case errors.Is(err, fs.ErrPermission) && pipe:
		return "run the collector as LocalSystem, or as an account that may open the " + server + "'s pipe (docs/windows.md)"
	case errors.Is(err, fs.ErrNotExist):
		return "the socket does not exist: the " + server + " is not running, or the socket's directory is not mounted into the " +
			"collector's container (mount the directory, not the socket file, which becomes stale when the " + server + " restarts)"
	case errors.Is(err, fs.ErrPermission):
		return GroupRemedy
	case errors.Is(err, syscall.ECONNREFUSED):
		return "no process listens there: the " + server + " is not running, or the socket file itself was mounted and is stale " +
			"(mount its directory)"
	default:
		return ""
	}
}

// GroupRemedy is the remedy for a socket that the collector may not open.
const GroupRemedy = "run the collector as root or as a member of the group that owns the socket, which is equivalent to root"
