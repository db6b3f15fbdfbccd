// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/observer"
)

func TestHostIsReadFromTheRegistryOnly(t *testing.T) {
	root, err := os.MkdirTemp("", "host") //nolint:usetesting // Wine 8 does not remove as Go's cleanup asks it to
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	t.Chdir(root)
	for _, planted := range []string{"etc/machine-id", "proc/stat", "proc/sys/kernel/random/boot_id"} {
		path := filepath.Join(root, planted)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte("planted\nbtime 1\n"), 0o600))
	}
	assert.Equal(t, observer.Host{}, hostFacts())
	assert.Regexp(t, "^[0-9a-fA-F-]{36}$", machineID(root))
}
