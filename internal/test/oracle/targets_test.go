// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEveryFuzzTargetHasABound: a target without one finds wrong answers only.
func TestEveryFuzzTargetHasABound(t *testing.T) {
	const repository = "../../.."
	target := regexp.MustCompile(`(?s)\nfunc (Fuzz\w+)\(f \*testing\.F\) \{\n.*?\n}\n`)
	found := 0
	require.NoError(t, filepath.WalkDir(repository, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := entry.Name(); entry.IsDir() && (name == "build" || name == ".git") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, match := range target.FindAllSubmatch(text, -1) {
			found++
			assert.Contains(t, string(match[0]), ".Bound(t, ", "%s in %s: begin with oracle.Bound(t, oracle.Parsing(len(input)))", match[1], path)
		}
		return nil
	}))
	assert.Greater(t, found, 40)
}
