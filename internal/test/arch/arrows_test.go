// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/zastava-otel/zastava/"

func TestPackagesMatchTheTables(t *testing.T) {
	table, err := parseTables(section(t, "Packages"))
	require.NoError(t, err)
	for _, fault := range compare(table, scan(t)) {
		t.Errorf("%s; docs/architecture.md, section Packages, and the code must agree", fault)
	}
}

func TestCompareReportsEveryDifference(t *testing.T) {
	table := imports{"receiver/r": {"internal/a"}, "internal/a": nil, "internal/b": nil}
	same := imports{"receiver/r": {"internal/a"}, "internal/a": nil, "internal/b": nil}
	assert.Empty(t, compare(table, same))

	for name, tc := range map[string]struct {
		code imports
		want string
	}{
		"import not in the table":  {imports{"receiver/r": {"internal/a", "internal/b"}, "internal/a": nil, "internal/b": nil}, "receiver/r imports internal/b, which its row does not list"},
		"listed import not used":   {imports{"receiver/r": nil, "internal/a": nil, "internal/b": nil}, "the row of receiver/r lists internal/a, which it does not import"},
		"package not in the table": {imports{"receiver/r": {"internal/a"}, "internal/a": nil, "internal/b": nil, "internal/c": nil}, "internal/c has no row"},
		"row without a package":    {imports{"receiver/r": {"internal/a"}, "internal/a": nil}, "the row internal/b has no package"},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, []string{tc.want}, compare(table, tc.code))
		})
	}
}

func TestParseTablesRefusesFaultyRows(t *testing.T) {
	for name, row := range map[string]string{
		"missing column": "| `internal/a` | an idea |",
		"two packages":   "| `internal/a`, `internal/b` | an idea | – |",
		"two rows":       "| `internal/a` | an idea | – |\n| `internal/a` | an idea | – |",
		"unknown import": "| `internal/a` | an idea | `b` |",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseTables(strings.Split(row, "\n"))
			assert.Error(t, err)
		})
	}
}

// TestLayersStayApart checks what no row may allow, whatever the tables list.
func TestLayersStayApart(t *testing.T) {
	table, err := parseTables(section(t, "Packages"))
	require.NoError(t, err)
	for _, layer := range []struct {
		from  string
		never []string
	}{
		{"receiver", []string{"exporter", "extension", "internal/backend", "internal/test", "internal/privateruntime", "cmd"}},
		// A gateway's exporter has no container runtime and reads no /proc.
		{"exporter", []string{"receiver", "extension", "internal/backend", "internal/test", "internal/privateruntime", "cmd", "internal/observer", "internal/runtime", "internal/tracker", "internal/evidence/procfs", "internal/evidence/packagedb"}},
		{"extension", []string{"receiver", "exporter", "internal/backend", "internal/test", "internal/privateruntime", "cmd"}},
		{"internal/backend", []string{"receiver", "exporter", "extension", "internal/test", "internal/privateruntime", "cmd", "internal/observer", "internal/runtime", "internal/tracker"}},
		{"cmd", []string{"internal/test"}},
		{"internal/tracker", []string{"internal/runtime", "internal/observer"}},
	} {
		for pkg := range table {
			if !below(pkg, layer.from) {
				continue
			}
			for reached := range reach(table, pkg) {
				for _, never := range layer.never {
					assert.False(t, below(reached, never), "%s must not depend on %s", pkg, reached)
				}
			}
		}
	}
}

// compare returns every difference between the tables and the code, sorted.
func compare(table, code imports) []string {
	var faults []string
	for pkg, imported := range code {
		listed, ok := table[pkg]
		if !ok {
			faults = append(faults, pkg+" has no row")
			continue
		}
		for _, name := range imported {
			if !slices.Contains(listed, name) {
				faults = append(faults, fmt.Sprintf("%s imports %s, which its row does not list", pkg, name))
			}
		}
		for _, name := range listed {
			if !slices.Contains(imported, name) {
				faults = append(faults, fmt.Sprintf("the row of %s lists %s, which it does not import", pkg, name))
			}
		}
	}
	for pkg := range table {
		if _, ok := code[pkg]; !ok {
			faults = append(faults, fmt.Sprintf("the row %s has no package", pkg))
		}
	}
	slices.Sort(faults)
	return faults
}

// reach returns all packages that pkg depends on, directly or not.
func reach(table imports, pkg string) map[string]bool {
	reached := map[string]bool{}
	next := slices.Clone(table[pkg])
	for len(next) > 0 {
		name := next[0]
		next = next[1:]
		if !reached[name] {
			reached[name] = true
			next = append(next, table[name]...)
		}
	}
	return reached
}

// scan reads the imports of every package of the module, for all operating systems. It leaves out test files, and the generated metadata
// packages, which belong to their component. A package of test files only has no imports.
func scan(t *testing.T) imports {
	t.Helper()
	sets := map[string]map[string]bool{}
	require.NoError(t, filepath.WalkDir(repository, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skip(file, entry.Name())
		}
		if !strings.HasSuffix(file, ".go") {
			return nil
		}
		pkg := directory(t, file)
		if generated(pkg) {
			return nil
		}
		if sets[pkg] == nil {
			sets[pkg] = map[string]bool{}
		}
		if strings.HasSuffix(file, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			if ours, ok := strings.CutPrefix(imported, module); ok && !generated(ours) {
				sets[pkg][ours] = true
			}
		}
		return nil
	}))
	code := imports{}
	for pkg, set := range sets {
		code[pkg] = slices.Sorted(maps.Keys(set))
	}
	require.NotEmpty(t, code)
	return code
}

// skip returns fs.SkipDir for directories that hold no package of the module.
func skip(dir, name string) error {
	if dir == repository {
		return nil
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir // a module of its own
	}
	if name == "build" || name == "testdata" || strings.HasPrefix(name, ".") {
		return fs.SkipDir
	}
	return nil
}

func directory(t *testing.T, file string) string {
	t.Helper()
	rel, err := filepath.Rel(repository, filepath.Dir(file))
	require.NoError(t, err)
	return filepath.ToSlash(rel)
}

func generated(pkg string) bool {
	return path.Base(path.Dir(pkg)) == "internal" && (path.Base(pkg) == "metadata" || path.Base(pkg) == "metadatatest")
}

func below(pkg, parent string) bool { return pkg == parent || strings.HasPrefix(pkg, parent+"/") }
