// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/test/realruntime"
	"github.com/zastava-otel/zastava/internal/test/socketdir"
)

func TestFindIgnoresSocketsThatDoNotAnswer(t *testing.T) {
	dir := socketdir.New(t)
	path := func(name string) string { return filepath.Join(dir, name) }

	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path("stale.sock")})
	require.NoError(t, err)
	stale.SetUnlinkOnClose(false)
	require.NoError(t, stale.Close())
	require.NoError(t, os.WriteFile(path("file"), nil, 0o600))
	require.NoError(t, os.Symlink(path("nowhere"), path("dangling")))
	other, err := net.Listen("unix", path("other.sock")) // listens and closes each connection: not CRI
	require.NoError(t, err)
	hungUp := make(chan struct{})
	go func() {
		defer close(hungUp)
		for {
			conn, err := other.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	defer func() { assert.NoError(t, other.Close()); <-hungUp }()
	none := []string{path("missing"), path("stale.sock"), path("file"), path("dangling"), path("other.sock")}
	f, err := findRuntime(t.Context(), none)
	require.NoError(t, err)
	assert.Nil(t, f)

	c := realruntime.Containerd(t)
	require.NoError(t, os.Symlink(filepath.Join(c.Dir(), "c.sock"), path("alias.sock")))
	f, err = findRuntime(t.Context(), append(none, path("alias.sock")))
	require.NoError(t, err)
	require.NotNil(t, f)
	assert.Equal(t, found{c.Endpoint(), "containerd", c.Version()}, found{f.endpoint, f.engine, f.version[:len(c.Version())]})
}

func TestIsDebianReadsOSRelease(t *testing.T) {
	tests := map[string]struct {
		content string
		want    bool
	}{
		"Debian":     {"PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n", true},
		"Ubuntu":     {"ID=ubuntu\nID_LIKE=debian\n", true},
		"derivative": {"ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", true},
		"Fedora":     {"ID=fedora\nHOME_URL=https://debian.org\n", false},
		"empty":      {"", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "os-release")
			require.NoError(t, os.WriteFile(file, []byte(tt.content), 0o600))
			assert.Equal(t, tt.want, isDebian(file))
		})
	}
	assert.False(t, isDebian("/no/such/file"))
}

func TestParseFlagsRefusesInvalidValues(t *testing.T) {
	t.Chdir(t.TempDir())
	o, err := parseFlags(nil)
	require.NoError(t, err)
	assert.Equal(t, options{collector: slimCollector, backend: "./build/zastava-backend", config: "./collector-config.yaml", port: 8686}, o)

	require.NoError(t, os.Mkdir("build", 0o755))
	require.NoError(t, os.WriteFile(fullCollector, nil, 0o755))
	o, err = parseFlags([]string{"--endpoint", "/run/x.sock", "--port", "9000", "--for", "60s"})
	require.NoError(t, err)
	assert.Equal(t, fullCollector, o.collector)
	assert.Equal(t, "unix:///run/x.sock", o.endpoint)
	assert.Equal(t, 9000, o.port)
	assert.Equal(t, time.Minute, o.duration)

	for fault, args := range map[string][]string{
		"unexpected argument":  {"now"},
		"--port 0":             {"--port", "0"},
		"--port 65536":         {"--port", "65536"},
		"must not be negative": {"--for", "-1s"},
		"exclude each other":   {"--private", "--endpoint", "unix:///x"},
	} {
		_, err := parseFlags(args)
		assert.ErrorContains(t, err, fault)
	}
}
