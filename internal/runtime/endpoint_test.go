// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEndpointStringIsURL(t *testing.T) {
	assert.Equal(t, "unix:///run/a.sock", Endpoint{Scheme: "unix", Address: "/run/a.sock"}.String())
	assert.Equal(t, "npipe:////./pipe/a", Endpoint{Scheme: "npipe", Address: `\\.\pipe\a`}.String())
}

func TestParseEndpointErrorsDoNotQuotePasswords(t *testing.T) {
	for in, want := range map[string]string{
		"user:hunter2@host":    "contains a user name",
		"unix://user:hunter2@": "contains a user name",
	} {
		_, err := ParseEndpoint(in, "CRI", "write unix:///path")
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "write unix:///path")
		assert.NotContains(t, err.Error(), "hunter2")
	}
	_, err := ParseEndpoint("tcp://host:1", "CRI", "write unix:///path")
	require.ErrorContains(t, err, `the scheme "tcp" is not known to CRI`)
}

func TestConnectRemedyDependsOnCauseAndEndpoint(t *testing.T) {
	const socket, pipe = "unix:///run/a.sock", "npipe:////./pipe/a"
	for _, test := range []struct {
		err            error
		endpoint, want string
	}{
		{fs.ErrNotExist, socket, "the socket does not exist: the engine is not running"},
		{fs.ErrNotExist, pipe, "the pipe does not exist: the engine is not running"},
		{fs.ErrPermission, socket, GroupRemedy},
		{fs.ErrPermission, pipe, "LocalSystem"},
		{syscall.ECONNREFUSED, socket, "no process listens there: the engine is not running"},
	} {
		assert.Contains(t, ConnectRemedy(fmt.Errorf("connect: %w", test.err), test.endpoint, "engine"), test.want)
	}
	assert.Empty(t, ConnectRemedy(errors.New("another"), socket, "engine"))
	assert.Empty(t, ConnectRemedy(nil, socket, "engine"))
}
