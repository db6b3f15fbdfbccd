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
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/runtime"
)

func TestErrorsContainRemedy(t *testing.T) {
	const socket, pipe = "unix:///run/docker.sock", "npipe:////./pipe/docker_engine"
	cases := []struct {
		endpoint string
		err      error
		doing    string
		want     string
	}{
		{socket, context.Canceled, "list all containers", "context canceled"},
		{socket, context.DeadlineExceeded, "list all containers", "did not answer within 7s"},
		{socket, fs.ErrNotExist, "ping the engine", "the socket does not exist"},
		{pipe, fs.ErrNotExist, "ping the engine", "the pipe does not exist"},
		{socket, fs.ErrPermission, "ping the engine", "run the collector as root"},
		{socket, errors.New("dial unix: connect: permission denied"), "ping the engine", "run the collector as root"},
		{pipe, fs.ErrPermission, "ping the engine", "LocalSystem"},
		{socket, syscall.ECONNREFUSED, "ping the engine", "no process listens there"},
		{socket, errors.New("Cannot connect to the Docker daemon at X"), "ping the engine", "no process listens there"},
		{socket, errdefs.ErrPermissionDenied, "list all containers", "a proxy in front of the engine refuses"},
		{socket, errdefs.ErrUnauthenticated, "list all containers", "a proxy in front of the engine refuses"},
		{socket, errdefs.ErrNotImplemented, "follow the events", "a proxy in front of the engine refuses"},
		{socket, errors.New("tls: bad certificate"), "ping the engine", "check tls"},
		{socket, errors.New("x509: unknown authority"), "ping the engine", "check tls"},
		{socket, errors.New("client sent an HTTP request to an HTTPS server"), "ping the engine", "add a tls block"},
		{socket, errors.New("Are you trying to connect to a TLS-enabled daemon without TLS?"), "ping the engine", "add a tls block"},
		{socket, errors.New("something else"), "ping the engine", "see the engine's own log"},
	}
	for _, c := range cases {
		r := &Runtime{endpoint: c.endpoint, timeout: 7 * time.Second}
		got := r.explain(fmt.Errorf("wrapped: %w", c.err), c.doing)
		require.ErrorIs(t, got, c.err)
		require.ErrorContains(t, got, c.want)
		require.ErrorContains(t, got, c.doing+" at "+c.endpoint)
	}
	r := &Runtime{endpoint: socket}
	require.ErrorIs(t, r.explain(errdefs.ErrNotFound, "inspect container x"), runtime.ErrNotFound)
	require.ErrorIs(t, r.explain(errdefs.ErrNotFound, "list all containers"), runtime.ErrNotSupported)
	require.ErrorIs(t, r.explain(errors.New("malformed HTTP response"), "ping the engine"), runtime.ErrNotSupported)
}

func TestPlatformNameAcceptsOnlyShortLowerCaseWords(t *testing.T) {
	for in, want := range map[string]string{"linux": "linux", "mips64le": "mips64le", "Linux": "", "a b": "", strings.Repeat("a", 33): "", "": ""} {
		assert.Equal(t, want, platformName(in), in)
	}
}
