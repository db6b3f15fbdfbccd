// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	named    = regexp.MustCompile("`((?:Test|Benchmark|Fuzz)[A-Z][A-Za-z0-9]*)`")
	pathed   = regexp.MustCompile("`((?:\\.ci|cmd|deploy|docs|exporter|extension|internal|receiver|testdata)/[A-Za-z0-9_./-]+)`")
	paged    = regexp.MustCompile(`\bdocs/[A-Za-z0-9_/-]+\.(?:md|yaml)\b`)
	declared = regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)[A-Z][A-Za-z0-9]*)\(`)
)

// TestNamesInMarkdownExist checks the tests, benchmarks and paths that pages name, because whoever repeats a measurement needs them.
func TestNamesInMarkdownExist(t *testing.T) {
	functions := testFunctions(t)
	found := 0
	for _, file := range files(t, ".md") {
		for _, line := range prose(t, file) {
			for _, match := range named.FindAllStringSubmatch(line, -1) {
				found++
				assert.True(t, functions[match[1]], "%s names %s, which does not exist", file, match[1])
			}
			for _, match := range pathed.FindAllStringSubmatch(line, -1) {
				found++
				_, err := os.Stat(filepath.Join(repository, filepath.FromSlash(match[1])))
				require.NoError(t, err, "%s names %s", file, match[1])
			}
		}
	}
	assert.Positive(t, found)
}

// TestPagesNamedInCodeExist checks the pages that comments and messages refer to.
func TestPagesNamedInCodeExist(t *testing.T) {
	found := 0
	for _, file := range files(t, ".go") {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, name := range paged.FindAllString(string(text), -1) {
			found++
			_, err := os.Stat(filepath.Join(repository, filepath.FromSlash(name)))
			require.NoError(t, err, "%s names %s", file, name)
		}
	}
	assert.Positive(t, found)
}

func testFunctions(t *testing.T) map[string]bool {
	t.Helper()
	functions := map[string]bool{}
	for _, file := range files(t, ".go") {
		if !strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, match := range declared.FindAllSubmatch(text, -1) {
			functions[string(match[1])] = true
		}
	}
	return functions
}
