// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"

	"github.com/zastava-otel/zastava/internal/limit"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// isRefused reports whether a request was received and refused because of what it asks for, for example by a proxy in front
// of the socket.
func isRefused(err error) bool {
	return errdefs.IsPermissionDenied(err) || errdefs.IsUnauthorized(err) || errdefs.IsNotImplemented(err)
}

// explain wraps the error of a failed call with the operation, the endpoint and a remedy. It adds runtime.ErrNotFound or
// runtime.ErrNotSupported if the response means that.
func (r *Runtime) explain(err error, doing string) error {
	err = runtime.Bound(err)
	if r.socket != nil && r.socket.Refused() != nil {
		return fmt.Errorf("%s: %w", doing, r.socket.Refused())
	}
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s at %s: %w", doing, r.endpoint, err)
	case errdefs.IsNotFound(err) && strings.Contains(doing, "container "):
		return fmt.Errorf("%s at %s: %w: %w", doing, r.endpoint, runtime.ErrNotFound, err)
	}
	if help := r.connectRemedy(err); help != "" {
		return fmt.Errorf("%s at %s: %w; %s", doing, r.endpoint, err, help)
	}
	if errdefs.IsNotFound(err) || strings.Contains(err.Error(), "malformed HTTP") {
		return fmt.Errorf("%s at %s: %w: %w; this is not a Docker Engine: set engine to auto, or use Docker's socket",
			doing, r.endpoint, runtime.ErrNotSupported, err)
	}
	return fmt.Errorf("%s at %s: %w; %s", doing, r.endpoint, err, textRemedy(err.Error()))
}

// connectRemedy returns what a user can do if the engine did not receive or answer the request, or "" if the cause is another
// one.
func (r *Runtime) connectRemedy(err error) string {
	if exceeded, ok := errors.AsType[*limit.Error](err); ok {
		return exceededRemedy(exceeded)
	}
	switch {
	case isRefused(err):
		return "a proxy in front of the engine refuses this request: allow it (docs/linux.md lists all requests)"
	case errors.Is(err, context.DeadlineExceeded):
		return "it did not answer within " + r.timeout.String() + ": it hangs, or the host is overloaded"
	}
	return cmp.Or(
		runtime.ConnectRemedy(err, r.endpoint, "engine"),
		runtime.ConnectRemedy(hiddenCause(err), r.endpoint, "engine"),
	)
}

// exceededRemedy returns what a user can do about an answer that exceeds a limit.
func exceededRemedy(e *limit.Error) string {
	if e.Kind == kindContainers {
		return "remove exited containers: docker container prune"
	}
	return "no engine sends that unless a container has very many or very long labels: find it with docker ps --no-trunc, and remove it"
}

// hiddenCause returns the cause of a connection error of which the client keeps only a text, or nil.
func hiddenCause(err error) error {
	switch text := err.Error(); {
	case strings.Contains(text, "permission denied"):
		return fs.ErrPermission
	case strings.Contains(text, "Cannot connect to the Docker daemon"):
		return syscall.ECONNREFUSED
	default:
		return nil
	}
}

// remedies lists what a user can do about errors that only their text distinguishes. The first match counts.
var remedies = []struct{ text, remedy string }{
	{"minimum supported API version", "upgrade the engine: API 1.40 (Docker 19.03) or later is required"},
	{"tls:", tlsRemedy},
	{"x509:", tlsRemedy},
	{"HTTP request to an HTTPS server", "the engine expects TLS: add a tls block"},
	{"TLS-enabled daemon", "the engine expects TLS: add a tls block"},
	{"", "see the engine's own log"},
}

const tlsRemedy = "check tls: the certificate authority, the client certificate and server_name_override"

func textRemedy(text string) string {
	for _, r := range remedies {
		if strings.Contains(text, r.text) {
			return r.remedy
		}
	}
	return ""
}
