// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/zastava-otel/zastava/internal/runtime"
)

// explain says what was being done, where, and what can be done about it. It keeps err in the chain and adds
// runtime.ErrNotFound or runtime.ErrNotSupported where the answer means that.
func (r *Runtime) explain(err error, doing string) error {
	var dialed error
	if last := r.dials.last.Load(); last != nil {
		dialed = *last
	}
	return Explain(err, dialed, doing, r.Endpoint(), r.timeout.String())
}

// Explain is how all CRI-side packages word a failed call. dialed is the last dial's error, nil when it worked or is not
// known; timeout is the deadline of the call, for the message.
func Explain(err, dialed error, doing, endpoint, timeout string) error {
	wrap := func(remedy string) error { return fmt.Errorf("%s at %s: %w; %s", doing, endpoint, err, remedy) }
	switch code := status.Code(err); code {
	case codes.NotFound:
		return fmt.Errorf("%s at %s: %w: %w", doing, endpoint, runtime.ErrNotFound, err)
	case codes.Unimplemented:
		return fmt.Errorf("%s at %s: %w: %w; it is no CRI v1 server: for containerd take \"cri\" out of disabled_plugins in "+
			"its config.toml and restart it, or observe Docker's socket instead", doing, endpoint, runtime.ErrNotSupported, err)
	case codes.DeadlineExceeded:
		return wrap("it did not answer within " + timeout + ": it hangs, or the node is overloaded")
	case codes.ResourceExhausted:
		return wrap(fmt.Sprintf("the answer is larger than %d MiB: remove exited containers", maxMessage>>20))
	case codes.PermissionDenied:
		return wrap("run the collector as root or as a member of the group that owns the socket")
	case codes.Unavailable:
		switch {
		case errors.Is(dialed, fs.ErrNotExist) && strings.HasPrefix(endpoint, "npipe:"):
			return wrap("there is no such pipe: the runtime is not running, or serves another one")
		case errors.Is(dialed, fs.ErrPermission) && strings.HasPrefix(endpoint, "npipe:"):
			return wrap("run the collector as LocalSystem, or as an account that the runtime's pipe is open to (docs/windows.md)")
		case errors.Is(dialed, fs.ErrNotExist):
			return wrap("there is no such socket: the runtime is not running, or its directory is not mounted into the " +
				"collector's container (mount the directory, not the socket file, which goes stale when the runtime restarts)")
		case errors.Is(dialed, fs.ErrPermission):
			return wrap("run the collector as root or as a member of the group that owns the socket")
		case errors.Is(dialed, syscall.ECONNREFUSED):
			return wrap("nobody listens on the socket: the runtime is not running, or the socket file was mounted by itself and " +
				"is stale (mount its directory)")
		}
		return wrap("the runtime is not running or is just restarting")
	default:
		// cri-dockerd passes Docker's answer on as it is.
		if strings.Contains(strings.ToLower(err.Error()), "no such container") {
			return fmt.Errorf("%s at %s: %w: %w", doing, endpoint, runtime.ErrNotFound, err)
		}
		if code == codes.Canceled || errors.Is(err, context.Canceled) {
			return fmt.Errorf("%s at %s: %w", doing, endpoint, err)
		}
		return wrap("the runtime's own log says more")
	}
}
