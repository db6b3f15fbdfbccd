// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package fileaccess_test

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/fileaccess"
	"github.com/zastava-otel/zastava/internal/test/socketdir"
)

func TestOpenRegularRefusesWhatIsNoRegularFile(t *testing.T) {
	for desc, create := range map[string]func(t *testing.T, path string){
		"pipe":      func(t *testing.T, path string) { require.NoError(t, syscall.Mkfifo(path, 0o600)) },
		"directory": func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) },
		"socket": func(t *testing.T, path string) {
			listener, err := net.Listen("unix", path)
			require.NoError(t, err)
			t.Cleanup(func() { _ = listener.Close() })
		},
		"link to a file": func(t *testing.T, path string) {
			target := filepath.Join(t.TempDir(), "target")
			require.NoError(t, os.WriteFile(target, []byte("content"), 0o600))
			require.NoError(t, os.Symlink(target, path))
			t.Cleanup(func() {
				raw, err := os.ReadFile(target)
				require.NoError(t, err)
				assert.Equal(t, "content", string(raw))
			})
		},
		"link to nothing": func(t *testing.T, path string) { require.NoError(t, os.Symlink(path+"-none", path)) },
		"device":          func(t *testing.T, path string) { require.NoError(t, os.Symlink("/dev/zero", path)) },
	} {
		t.Run(desc, func(t *testing.T) {
			path := filepath.Join(socketdir.New(t), "f")
			create(t, path)
			for _, flag := range []int{os.O_RDONLY, os.O_RDWR | os.O_CREATE, os.O_WRONLY | os.O_APPEND | os.O_TRUNC} {
				_, err := fileaccess.OpenRegular(path, flag, 0o600)
				require.ErrorIs(t, err, fileaccess.ErrNotRegular)
				require.ErrorContains(t, err, path)
			}
		})
	}
}

func TestOpenRegularOpensAndCreatesFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	_, err := fileaccess.OpenRegular(path, os.O_RDONLY, 0)
	require.ErrorIs(t, err, os.ErrNotExist)
	file, err := fileaccess.OpenRegular(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	_, err = fileaccess.OpenRegular(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	require.ErrorIs(t, err, os.ErrExist)
	file, err = fileaccess.OpenRegular(path, os.O_RDONLY, 0)
	require.NoError(t, err)
	require.NoError(t, file.Close())
}
