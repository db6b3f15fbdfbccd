// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package hostile_test

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/test/hostile"
)

// TestELFBombUnpacksAndRuns holds the bomb against the reader that it is made for, with a size that does no harm.
func TestELFBombUnpacksAndRuns(t *testing.T) {
	program, err := os.ReadFile("/bin/true")
	if err != nil || !bytes.HasPrefix(program, []byte("\x7fELF\x02\x01")) {
		t.Skip("needs a 64-bit little-endian /bin/true")
	}
	for name, compression := range map[string]hostile.Compression{"zlib": hostile.Zlib, "zstd": hostile.Zstd} {
		t.Run(name, func(t *testing.T) {
			const size = 3<<20 + 4711
			bomb, err := hostile.ELFBomb(program, size, compression)
			require.NoError(t, err)
			assert.Less(t, len(bomb), len(program)+32<<10)
			f, err := elf.NewFile(bytes.NewReader(bomb))
			require.NoError(t, err)
			require.Len(t, f.Sections, 2)
			content, err := f.Sections[1].Data()
			require.NoError(t, err)
			assert.Len(t, content, size)

			path := filepath.Join(t.TempDir(), "bomb")
			require.NoError(t, os.WriteFile(path, bomb, 0o755))
			assert.NoError(t, exec.CommandContext(t.Context(), path).Run())
		})
	}
}

func TestBombOfWhatIsNoProgramIsRefused(t *testing.T) {
	_, err := hostile.ELFBomb([]byte("#!/bin/sh"), 1<<20, hostile.Zlib)
	require.ErrorContains(t, err, "not 64-bit little-endian ELF")
	_, err = hostile.ELFBomb(append([]byte("\x7fELF\x02\x01"), make([]byte, 64)...), 1<<20, 3)
	require.ErrorContains(t, err, "neither zlib nor zstd")
}
