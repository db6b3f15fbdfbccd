// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/zastava-otel/zastava/internal/limit"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/runtime/socket"
)

// explain wraps the error of a failed call with the operation, the endpoint and a remedy. It adds runtime.ErrNotFound or
// runtime.ErrNotSupported if the runtime's response means that.
func (r *Runtime) explain(err error, doing string) error {
	var dialed error
	if last := r.dials.last.Load(); last != nil {
		dialed = *last
	}
	return Explain(err, dialed, doing, r.Endpoint(), r.timeout.String())
}

// Explain wraps the error of a failed call to a CRI server; see Runtime.explain. dialed is the error of the last dial, nil if
// it succeeded or is unknown. timeout is the deadline of the call, for the message.
func Explain(err, dialed error, doing, endpoint, timeout string) error {
	code := status.Code(err)
	err = runtime.Bound(err)
	if refused, ok := errors.AsType[*socket.UntrustedError](dialed); ok && code == codes.Unavailable {
		return fmt.Errorf("%s: %w", doing, refused)
	}
	help := remedy(code, dialed, endpoint, timeout)
	if _, ok := errors.AsType[*limit.Error](err); ok {
		help = removeExited
	}
	switch {
	case code == codes.Unimplemented:
		return fmt.Errorf("%s at %s: %w: %w; %s", doing, endpoint, runtime.ErrNotSupported, err, help)
	case code == codes.NotFound, help == "" && isDockerNotFound(err):
		return fmt.Errorf("%s at %s: %w: %w", doing, endpoint, runtime.ErrNotFound, err)
	case code == codes.Canceled, help == "" && errors.Is(err, context.Canceled):
		return fmt.Errorf("%s at %s: %w", doing, endpoint, err)
	default:
		return fmt.Errorf("%s at %s: %w; %s", doing, endpoint, err, cmp.Or(help, "see the runtime's own log"))
	}
}

const removeExited = "remove exited containers"

// isDockerNotFound reports whether cri-dockerd passed on Docker's error for a container that does not exist.
func isDockerNotFound(err error) bool {
	return strings.Contains(strings.ToLower(err.Error()), "no such container")
}

// remedy returns what a user can do about a call that failed with code, or "" if the code alone does not show the cause.
func remedy(code codes.Code, dialed error, endpoint, timeout string) string {
	switch code {
	case codes.Unimplemented:
		return "this is not a CRI v1 server: for containerd, remove \"cri\" from disabled_plugins in its config.toml and restart it, " +
			"or observe Docker's socket instead"
	case codes.DeadlineExceeded:
		return "it did not answer within " + timeout + ": it hangs, or the node is overloaded"
	case codes.ResourceExhausted:
		return "the answer exceeds a limit: " + removeExited
	case codes.PermissionDenied:
		return runtime.GroupRemedy
	case codes.Unavailable:
		return cmp.Or(runtime.ConnectRemedy(dialed, endpoint, "runtime"), "the runtime is not running, or it is restarting")
	default:
		return ""
	}
}
