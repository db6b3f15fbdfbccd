// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"

	"github.com/zastava-otel/zastava/internal/runtime"
)

// isRefused tells that a request got through and was turned down for what it asks, as by a proxy before the socket.
func isRefused(err error) bool {
	return errdefs.IsPermissionDenied(err) || errdefs.IsUnauthorized(err) || errdefs.IsNotImplemented(err)
}

// explain says what was being done, where, and what can be done about it. It keeps err in the chain and adds
// runtime.ErrNotFound or runtime.ErrNotSupported where the answer means that.
func (r *Runtime) explain(err error, doing string) error {
	wrap := func(remedy string) error { return fmt.Errorf("%s at %s: %w; %s", doing, r.endpoint, err, remedy) }
	text := err.Error()
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s at %s: %w", doing, r.endpoint, err)
	case errdefs.IsNotFound(err) && strings.Contains(doing, "container "):
		return fmt.Errorf("%s at %s: %w: %w", doing, r.endpoint, runtime.ErrNotFound, err)
	case isRefused(err):
		return wrap("something before the engine refuses this request: let it through (docs/linux.md lists all that are made)")
	case errors.Is(err, context.DeadlineExceeded):
		return wrap("it did not answer within " + r.timeout.String() + ": it hangs, or the host is overloaded")
	case errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(r.endpoint, "npipe:"):
		return wrap("there is no such pipe: the engine is not running, or serves another one")
	case errors.Is(err, fs.ErrPermission) && strings.HasPrefix(r.endpoint, "npipe:"):
		return wrap("run the collector as LocalSystem, or as an account that the engine's pipe is open to (docs/windows.md)")
	case errors.Is(err, fs.ErrNotExist):
		return wrap("there is no such socket: the engine is not running, or its directory is not mounted into the collector's " +
			"container (mount the directory, not the socket file, which goes stale when the engine restarts)")
	case errors.Is(err, fs.ErrPermission), strings.Contains(text, "permission denied"):
		return wrap("run the collector as root, or as a member of the group that owns the socket (docker), which is as good as root")
	case errors.Is(err, syscall.ECONNREFUSED), strings.Contains(text, "Cannot connect to the Docker daemon"): // the client hides which
		return wrap("nobody listens there: the engine is not running, or the socket file was mounted by itself and is stale")
	case strings.Contains(text, "malformed HTTP"), errdefs.IsNotFound(err):
		return fmt.Errorf("%s at %s: %w: %w; this is no Docker Engine: set engine to auto, or name Docker's socket",
			doing, r.endpoint, runtime.ErrNotSupported, err)
	case strings.Contains(text, "minimum supported API version"):
		return wrap("upgrade the engine: API 1.40 (Docker 19.03) or later is needed")
	case strings.Contains(text, "tls:"), strings.Contains(text, "x509:"):
		return wrap("check tls: the certificate authority, the client certificate and server_name_override")
	case strings.Contains(text, "HTTP request to an HTTPS server"), strings.Contains(text, "TLS-enabled daemon"):
		return wrap("the engine expects TLS: add a tls block")
	default:
		return wrap("the engine's own log says more")
	}
}
