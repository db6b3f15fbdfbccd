// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package fileaccess_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/zastava-otel/zastava/internal/fileaccess"
)

// nobody is a uid that is neither root's nor the test's.
const nobody = 65534

func TestCheckSecretReportsRightsOfOthers(t *testing.T) {
	for mode, want := range map[fs.FileMode]string{
		0o600: "", 0o400: "", 0o700: "",
		0o640: "has mode 0640", 0o604: "has mode 0604", 0o620: "has mode 0620", 0o601: "has mode 0601", 0o644: "has mode 0644", 0o666: "has mode 0666",
	} {
		path := filepath.Join(t.TempDir(), "key.pem")
		require.NoError(t, os.WriteFile(path, []byte("s3cret"), 0o600))
		require.NoError(t, os.Chmod(path, mode))
		link := filepath.Join(t.TempDir(), "link") // as Kubernetes mounts secrets
		require.NoError(t, os.Symlink(path, link))
		for _, name := range []string{path, link} {
			err := fileaccess.CheckSecret("tls::key_file", name)
			if want == "" {
				require.NoError(t, err, "%o", mode)
				continue
			}
			require.ErrorContains(t, err, "tls::key_file "+name+" "+want)
			require.ErrorContains(t, err, "chmod go-rwx "+name)
			assert.NotContains(t, err.Error(), "s3cret")
		}
	}
}

func TestCheckDirectoryReportsWriteRightsOfOthers(t *testing.T) {
	for mode, want := range map[fs.FileMode]string{
		0o700: "", 0o750: "", 0o755: "",
		0o770: "has mode 0770", 0o702: "has mode 0702", 0o777: "has mode 0777", 0o777 | fs.ModeSticky: "has mode 0777",
	} {
		path := t.TempDir()
		require.NoError(t, os.Chmod(path, mode))
		err := fileaccess.CheckDirectory("quarantine::directory", path)
		if want == "" {
			require.NoError(t, err, "%s", mode)
			continue
		}
		require.ErrorContains(t, err, "quarantine::directory "+path+" "+want)
		require.ErrorContains(t, err, "chmod go-w "+path)
	}
}

func TestChecksReportAnOwnerThatIsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a file of another user")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Chown(path, nobody, -1))
	require.NoError(t, os.Chown(dir, nobody, -1))
	require.ErrorContains(t, fileaccess.CheckSecret("client_secret_file", path), "belongs to uid 65534")
	require.ErrorContains(t, fileaccess.CheckDirectory("directory", dir), "belongs to uid 65534")
}

func TestChecksIgnoreWhatDoesNotExist(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none")
	require.NoError(t, fileaccess.CheckSecret("x", path))
	require.NoError(t, fileaccess.CheckDirectory("x", path))
}

func TestReadIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(path, []byte("s3cret"), 0o600))
	raw, err := fileaccess.Read("client_secret_file", path, 6)
	require.NoError(t, err)
	assert.Equal(t, "s3cret", string(raw))
	_, err = fileaccess.Read("client_secret_file", path, 5)
	require.ErrorContains(t, err, "read client_secret_file "+path+": more than 5 bytes")
	assert.NotContains(t, err.Error(), "s3cret")
	for _, other := range []string{"/dev/zero", t.TempDir()} {
		_, err = fileaccess.Read("client_secret_file", other, 100)
		require.ErrorContains(t, err, "is not a regular file")
	}
	_, err = fileaccess.Read("client_secret_file", path+"x", 100)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestWarnerLogsEachFileOnce(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	w := fileaccess.Warner{Logger: zap.New(core)}
	open, private := filepath.Join(t.TempDir(), "open"), filepath.Join(t.TempDir(), "private")
	require.NoError(t, os.WriteFile(open, nil, 0o600))
	require.NoError(t, os.Chmod(open, 0o644))
	require.NoError(t, os.WriteFile(private, nil, 0o600))
	for range 3 {
		w.Secret("tls::key_file", open)
		w.Secret("client_secret_file", private)
		w.Secret("client_secret_file", "")
	}
	require.Equal(t, 1, logs.Len())
	assert.Contains(t, logs.All()[0].ContextMap()["error"], "tls::key_file "+open)
	assert.Equal(t, zap.WarnLevel, logs.All()[0].Level)
	require.NoError(t, os.Chmod(private, 0o640))
	w.Secret("client_secret_file", private)
	assert.Equal(t, 2, logs.Len(), "a file may become readable later")
}
