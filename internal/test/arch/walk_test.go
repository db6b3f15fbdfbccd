// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// maxStops is how many a newcomer can follow in one go.
const maxStops = 12

var stop = regexp.MustCompile("^\\| (\\d+) \\| \\[[^]]+]\\(([^)]+)\\) \\| `([^`]+)` \\|")

func TestEveryStopOfTheWalkExists(t *testing.T) {
	stops := 0
	for _, line := range section(t, "A newcomer's walk") {
		match := stop.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		stops++
		assert.Equal(t, strconv.Itoa(stops), match[1], "stops are in order")
		file := filepath.Join(filepath.Dir(page), match[2])
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if assert.NoError(t, err, "stop %d", stops) {
			assert.Contains(t, functions(parsed), match[3], "stop %d: functions of %s", stops, match[2])
		}
	}
	require.Positive(t, stops)
	assert.LessOrEqual(t, stops, maxStops)
}

// functions returns the names of a file's functions, those of methods as Type.Method.
func functions(file *ast.File) []string {
	var names []string
	for _, declared := range file.Decls {
		function, ok := declared.(*ast.FuncDecl)
		if !ok {
			continue
		}
		name := function.Name.Name
		if function.Recv != nil {
			name = receiver(function.Recv.List[0].Type) + "." + name
		}
		names = append(names, name)
	}
	return names
}

// receiver returns the name of a method's receiver type, without its pointer and type parameters.
func receiver(expr ast.Expr) string {
	switch e := expr.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
