// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package socket

import (
	"context"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/test/socketdir"
)

// stranger is a user who is neither root nor the user of the tests.
const stranger = uint32(65534)

// TestMain serves a socket, in the processes that serve starts.
func TestMain(m *testing.M) {
	if path := os.Getenv("TEST_SERVE"); path != "" {
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", path)
		if err != nil {
			os.Exit(1)
		}
		for {
			if c, err := l.Accept(); err == nil {
				_ = c.Close()
			}
		}
	}
	os.Exit(m.Run())
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to be another user")
	}
}

// dir returns a directory of a user at which everybody may look.
func dir(t *testing.T, owner uint32) string {
	t.Helper()
	d := socketdir.New(t)
	require.NoError(t, os.Chmod(d, 0o755))
	require.NoError(t, os.Chown(d, int(owner), -1))
	return d
}

func listen(t *testing.T, path string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
}

// serve has a process of another user serve a socket.
func serve(t *testing.T, path string, uid uint32) {
	t.Helper()
	program := filepath.Join(dir(t, 0), "server")
	self, err := os.Executable()
	require.NoError(t, err)
	content, err := os.ReadFile(self)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, content, 0o755))
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = []string{"TEST_SERVE=" + path}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	require.Eventually(t, func() bool {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", path)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	}, time.Minute, time.Millisecond)
}

func dial(t *testing.T, path string, owner *uint32) (*Dialer, error) {
	t.Helper()
	d := NewDialer(path, owner)
	conn, err := d.Dial(t.Context())
	if err == nil {
		require.NoError(t, conn.Close())
	}
	return d, err
}

func refused(t *testing.T, err error) *UntrustedError {
	t.Helper()
	var e *UntrustedError
	require.ErrorAs(t, err, &e)
	return e
}

func TestOwnSocketIsTrusted(t *testing.T) {
	path := filepath.Join(dir(t, uint32(os.Geteuid())), "s")
	listen(t, path)
	d, err := dial(t, path, nil)
	require.NoError(t, err)
	assert.Equal(t, uint32(os.Geteuid()), d.Owner())
	require.NoError(t, d.Refused())
	assert.False(t, d.Foreign())

	link := filepath.Join(dir(t, uint32(os.Geteuid())), "link")
	require.NoError(t, os.Symlink(path, link))
	_, err = dial(t, link, nil)
	require.NoError(t, err)
}

func TestSocketOfAnotherUserIsRefusedUnlessItIsNamed(t *testing.T) {
	needsRoot(t)
	path := filepath.Join(dir(t, stranger), "s")
	serve(t, path, stranger)
	d, err := dial(t, path, nil)
	e := refused(t, err)
	assert.Equal(t, stranger, e.UID)
	assert.Equal(t, err, d.Refused())
	for _, part := range []string{path, "belongs to uid 65534", "owner: 65534"} {
		require.ErrorContains(t, err, part)
	}

	owner := stranger
	d, err = dial(t, path, &owner)
	require.NoError(t, err)
	assert.Equal(t, stranger, d.Owner())
	assert.True(t, d.Foreign())

	other := uint32(1000)
	_, err = dial(t, path, &other)
	assert.Equal(t, stranger, refused(t, err).UID)
}

func TestSocketIsRefusedBecauseOfItsParts(t *testing.T) {
	needsRoot(t)
	for name, test := range map[string]struct {
		prepare func(t *testing.T) (path string)
		want    string
	}{
		"the process that serves it": {func(t *testing.T) string {
			path := filepath.Join(dir(t, stranger), "s")
			serve(t, path, stranger)
			require.NoError(t, os.Chown(path, 0, 0))
			require.NoError(t, os.Chown(filepath.Dir(path), 0, 0))
			return path
		}, "is served by uid 65534"},
		"its directory": {func(t *testing.T) string {
			path := filepath.Join(dir(t, stranger), "s")
			listen(t, path)
			return path
		}, "belongs to uid 65534"},
		"a directory that everybody may write": {func(t *testing.T) string {
			path := filepath.Join(dir(t, 0), "s")
			listen(t, path)
			require.NoError(t, os.Chmod(filepath.Dir(path), 0o777))
			return path
		}, "everybody may write"},
		"a link": {func(t *testing.T) string {
			path := filepath.Join(dir(t, 0), "s")
			listen(t, path)
			link := filepath.Join(dir(t, 0), "link")
			require.NoError(t, os.Symlink(path, link))
			require.NoError(t, os.Lchown(link, int(stranger), 0))
			return link
		}, "belongs to uid 65534"},
		"the socket itself": {func(t *testing.T) string {
			path := filepath.Join(dir(t, 0), "s")
			listen(t, path)
			require.NoError(t, os.Chown(path, int(stranger), 0))
			return path
		}, "it belongs to uid 65534"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := dial(t, test.prepare(t), nil)
			assert.ErrorContains(t, refused(t, err), test.want)
		})
	}
}

func TestSocketIsRefusedWhenItsOwnerIsConfiguredAndIsRoot(t *testing.T) {
	needsRoot(t)
	path := filepath.Join(dir(t, 0), "s")
	listen(t, path)
	owner := stranger
	_, err := dial(t, path, &owner)
	assert.ErrorContains(t, refused(t, err), "owner: 65534 is configured")
}

// A user must not take over the place of a runtime between two connections.
func TestOwnerIsCheckedAtEachConnection(t *testing.T) {
	needsRoot(t)
	path := filepath.Join(dir(t, 0), "s")
	listen(t, path)
	d, err := dial(t, path, nil)
	require.NoError(t, err)
	require.NoError(t, os.Chown(path, int(stranger), 0))
	_, err = d.Dial(t.Context())
	refused(t, err)
	require.NoError(t, os.Chown(path, 0, 0))
	conn, err := d.Dial(t.Context())
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	assert.NoError(t, d.Refused(), "it is trusted again")
}

func TestDialFailsAsTheSystemDoes(t *testing.T) {
	d := dir(t, uint32(os.Geteuid()))
	_, err := dial(t, filepath.Join(d, "absent"), nil)
	require.ErrorIs(t, err, fs.ErrNotExist)

	require.NoError(t, os.WriteFile(filepath.Join(d, "file"), nil, 0o600))
	_, err = dial(t, filepath.Join(d, "file"), nil)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	_, err = dial(t, d, nil)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)

	require.NoError(t, os.Symlink("loop", filepath.Join(d, "loop")))
	_, err = dial(t, filepath.Join(d, "loop"), nil)
	require.ErrorIs(t, err, syscall.ELOOP)
}
