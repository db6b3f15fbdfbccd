// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"crypto/tls"
	goruntime "runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEndpointIsValidated(t *testing.T) {
	good := map[string]string{
		"unix:///var/run/docker.sock": "unix:///var/run/docker.sock",
		"/run/podman/podman.sock":     "unix:///run/podman/podman.sock",
		"tcp://engine.example:2376":   "tcp://engine.example:2376",
		"tcp://[::1]:2375":            "tcp://[::1]:2375",
	}
	for in, want := range good {
		got, err := parseEndpoint(in)
		require.NoError(t, err, in)
		assert.Equal(t, want, got)
	}
	bad := map[string]string{
		"":                    "is empty",
		"ssh://me@host":       "ssh:// is not supported",
		"http://host:2375":    `the scheme "http" is not known`,
		"docker.sock":         "is not an absolute path",
		"unix://relative":     "is not an absolute path",
		"tcp://host":          "is not tcp://host:port",
		"tcp://:2375":         "is not tcp://host:port",
		"tcp://host:http":     "has no port number",
		"tcp://me:pw@host:1":  "contains a user name",
		"tcp://host:0":        "has no port number",
		"npipe://docker":      "names no pipe",
		"npipe:////./pipe/":   "names no pipe",
		"tcp://host:2375/api": "has no port number",
	}
	for in, want := range bad {
		require.ErrorContains(t, CheckEndpoint(in), want, in)
	}
	pipe, err := parseEndpoint(`\\.\pipe\docker_engine`)
	if goruntime.GOOS == "windows" {
		require.NoError(t, err)
		assert.Equal(t, "npipe:////./pipe/docker_engine", pipe)
	} else {
		require.ErrorContains(t, err, "this is not Windows")
	}
}

func TestNewFailsForTLSWithoutTCP(t *testing.T) {
	_, err := New(Options{Endpoint: "/run/docker.sock", TLS: &tls.Config{MinVersion: tls.VersionTLS12}})
	require.ErrorContains(t, err, "tls: is for tcp://")
}
