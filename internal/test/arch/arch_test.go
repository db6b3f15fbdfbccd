// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package arch keeps docs/architecture.md true: which package of ours may import which. There is nothing in it but the test.
package arch

import (
	"go/parser"
	"go/token"
	"io/fs"
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

// allowed says what each package, with all below it, may import of ours. A package may always import what is below itself.
var allowed = map[string][]string{
	"internal/container":              {},
	"internal/backendapi":             {},
	"internal/signal":                 {},
	"internal/runtime":                {"internal/container"},
	"internal/tracker":                {"internal/container"},
	"internal/observer":               {"internal/container", "internal/runtime", "internal/tracker"},
	"internal/checkpoint":             {"internal/container", "internal/observer", "internal/tracker"},
	"internal/record":                 {"internal/backendapi", "internal/container", "internal/evidence", "internal/signal"},
	"internal/backend":                {"internal/backendapi", "internal/container", "docs/api"},
	"receiver/criobserverreceiver":    {"internal/checkpoint", "internal/container", "internal/evidence", "internal/observer", "internal/record", "internal/redact", "internal/runtime", "internal/sampling", "internal/tracker"},
	"internal/redact":                 {},
	"internal/sampling":               {"internal/container", "internal/evidence"},
	"internal/evidence":               {"internal/redact"},
	"internal/quarantine":             {"internal/backendapi"},
	"exporter/zastavabackendexporter": {"internal/backendapi", "internal/quarantine", "internal/queuestate", "internal/record"},
	"extension/zastavastorageextension/internal/journal": {},
	"internal/queuestate":                                {},
	"extension/zastavaauthextension":                     {},
	"extension/zastavastorageextension":                  {"extension/zastavastorageextension/internal/journal", "internal/queuestate"},
	"internal/backend/conformance":                       {"internal/backendapi"},
	"cmd/zastava-backend":                                {"internal/backend", "internal/backendapi", "internal/backend/conformance", "internal/quarantine"},
	"cmd/zastava-demo":                                   {"internal/backendapi", "internal/runtime", "internal/privateruntime"},
	"docs/api":                                           {},
	"internal/privateruntime":                            {},
	"internal/test/engine":                               {"internal/privateruntime"},
	"internal/test/browser":                              {},
	"internal/test/namedpipe":                            {},
	"internal/test/process":                              {"internal/backendapi"},
	"internal/test/proxy":                                {},
	"internal/test/certs":                                {},
	"internal/test/chaos":                                {},
	"internal/test/e2e":                                  {"internal/test/namedpipe"},
	"internal/test/bench":                                {"internal/test/crifake"},
	"internal/test/distro":                               {},
	"internal/test/arch":                                 {},
	"internal/runtime/cri":                               {"internal/container", "internal/runtime"},
	"internal/test/crifake":                              {"internal/test/namedpipe"},
	"internal/runtime/detect":                            {},
	"internal/runtime/docker":                            {"internal/container", "internal/runtime", "internal/signal"},
	"internal/runtime/containerd":                        {"internal/container", "internal/runtime", "internal/runtime/cri"},
}

func TestArrowsPointDown(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	found := 0
	require.NoError(t, filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if _, err := os.Stat(filepath.Join(file, "go.mod")); err == nil && file != root {
				return filepath.SkipDir // a module of its own
			}
			if name := entry.Name(); name == "build" || name == "testdata" || (strings.HasPrefix(name, ".") && file != root) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		found++
		rel, err := filepath.Rel(root, filepath.Dir(file))
		require.NoError(t, err)
		pkg := filepath.ToSlash(rel)
		rule := ruleOf(pkg)
		require.NotEmpty(t, rule, "%s is not in the table of this test, nor, probably, in docs/architecture.md", pkg)
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			if ours, ok := strings.CutPrefix(imported, module); ok && !below(ours, rule) {
				assert.True(t, slices.ContainsFunc(allowed[rule], func(a string) bool { return below(ours, a) }), "%s must not import %s", file, ours)
			}
		}
		return nil
	}))
	assert.Positive(t, found)
}

// ruleOf gives the longest entry of the table that holds for a package.
func ruleOf(pkg string) string {
	for p := pkg; p != "."; p = path.Dir(p) {
		if _, ok := allowed[p]; ok {
			return p
		}
	}
	return ""
}

func below(pkg, parent string) bool { return pkg == parent || strings.HasPrefix(pkg, parent+"/") }
