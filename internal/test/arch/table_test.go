// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	repository = filepath.Join("..", "..", "..")
	page       = filepath.Join(repository, "docs", "architecture.md")
)

// section returns the lines of the page below the heading of level two, up to the next one.
func section(t *testing.T, heading string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	_, after, found := strings.Cut(string(text), "\n## "+heading+"\n")
	require.True(t, found, "%s has no section %q", page, heading)
	body, _, _ := strings.Cut(after, "\n## ")
	return strings.Split(body, "\n")
}

// imports maps a package, by its directory, to the packages of this repository that it imports.
type imports map[string][]string

// parseTables reads the rows "| `package` | idea | `import`, … |" of Markdown tables. An import without a row of its own is one below
// internal/.
func parseTables(lines []string) (imports, error) {
	table := imports{}
	for _, line := range lines {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 3 {
			return nil, fmt.Errorf("row has %d columns, want 3: %s", len(cells), line)
		}
		pkg := quoted(cells[0])
		if len(pkg) != 1 {
			return nil, fmt.Errorf("row names %d packages, want 1: %s", len(pkg), line)
		}
		if _, twice := table[pkg[0]]; twice {
			return nil, fmt.Errorf("%s has two rows", pkg[0])
		}
		table[pkg[0]] = quoted(cells[2])
	}
	for pkg, listed := range table {
		for i, name := range listed {
			if _, ok := table[name]; !ok {
				name = "internal/" + name
			}
			if _, ok := table[name]; !ok {
				return nil, fmt.Errorf("row of %s lists %s, which has no row", pkg, listed[i])
			}
			listed[i] = name
		}
	}
	return table, nil
}

// quoted returns what stands between backticks.
func quoted(cell string) []string {
	var names []string
	for i, part := range strings.Split(cell, "`") {
		if i%2 == 1 {
			names = append(names, part)
		}
	}
	return names
}
