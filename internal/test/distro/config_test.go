// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package distro

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/otelcol/otelcoltest"
	"go.yaml.in/yaml/v3"
)

// collectorVariable names a collector binary; with it every configuration is
// given to that binary's `validate`. Without it a configuration is loaded in
// this process, less its telemetry section, if the slim distribution's
// components are all it uses.
// `make validate` sets it to the full distribution.
const collectorVariable = "ZASTAVA_OTELCOL"

// collectorConfig is a configuration found in the repository.
type collectorConfig struct {
	origin string // the file, and where in it
	text   []byte
}

// withoutTelemetry is c's text less service.telemetry, for which slimFactories
// have no factory.
func (c collectorConfig) withoutTelemetry(t *testing.T) []byte {
	t.Helper()
	var sections map[string]any
	require.NoError(t, yaml.Unmarshal(c.text, &sections))
	if service, ok := sections["service"].(map[string]any); ok {
		delete(service, "telemetry")
	}
	text, err := yaml.Marshal(sections)
	require.NoError(t, err)
	return text
}

// components are the types that c uses, each as "receivers: otlp".
func (c collectorConfig) components(t *testing.T) []string {
	t.Helper()
	var sections map[string]any
	require.NoError(t, yaml.Unmarshal(c.text, &sections))
	var used []string
	for _, kind := range []string{"receivers", "processors", "exporters", "extensions", "connectors"} {
		section, _ := sections[kind].(map[string]any)
		for id := range section {
			name, _, _ := strings.Cut(id, "/")
			used = append(used, kind+": "+name)
		}
	}
	slices.Sort(used)
	return slices.Compact(used)
}

func TestEveryCollectorConfigurationIsValid(t *testing.T) {
	// A tenant is the one thing that the default configuration leaves to the environment.
	t.Setenv("ZASTAVA_TENANT", "acme")
	// The file_storage extension looks at its directory when it validates.
	t.Setenv("ZASTAVA_STORAGE_DIR", t.TempDir())

	configs := collectorConfigs(t)
	for _, c := range configs {
		t.Run(c.origin, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config.yaml")
			require.NoError(t, os.WriteFile(file, c.text, 0o600))

			if binary := os.Getenv(collectorVariable); binary != "" {
				out, err := exec.CommandContext(t.Context(), binary, "validate", "--config", file).CombinedOutput()
				assert.NoError(t, err, "%s", out)
				return
			}
			factories := slimFactories(t)
			if missing := without(c.components(t), factories); len(missing) > 0 {
				t.Skipf("uses what only the full distribution has (%s); `make validate` checks it", strings.Join(missing, ", "))
			}
			require.NoError(t, os.WriteFile(file, c.withoutTelemetry(t), 0o600))
			_, err := otelcoltest.LoadConfigAndValidate(file, factories)
			assert.NoError(t, err)
		})
	}
}

// without returns those of the used components for which there is no factory.
func without(used []string, f otelcol.Factories) []string {
	have := map[string]bool{}
	add := func(kind string, types []component.Type) {
		for _, typ := range types {
			have[kind+": "+typ.String()] = true
		}
	}
	add("receivers", slices.Collect(maps.Keys(f.Receivers)))
	add("processors", slices.Collect(maps.Keys(f.Processors)))
	add("exporters", slices.Collect(maps.Keys(f.Exporters)))
	add("extensions", slices.Collect(maps.Keys(f.Extensions)))
	return slices.DeleteFunc(slices.Clone(used), func(c string) bool { return have[c] })
}

// collectorConfigs finds the configurations: YAML documents with a
// service.pipelines, as files, in a ConfigMap, or in a fence of a Markdown file.
// Templates of charts are not YAML and are left out.
func collectorConfigs(t *testing.T) []collectorConfig {
	t.Helper()
	var found []collectorConfig
	err := filepath.WalkDir(repository, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			switch entry.Name() {
			case "build", "templates", "testdata", ".git", "node_modules":
				return filepath.SkipDir
			}
			return nil
		}
		var documents map[string][]byte
		switch filepath.Ext(path) {
		case ".yaml", ".yml":
			documents, err = documentsOf(path)
		case ".md":
			documents, err = fencesOf(path)
		}
		if err != nil {
			return err
		}
		for _, where := range slices.Sorted(maps.Keys(documents)) {
			for _, text := range configsIn(documents[where]) {
				origin, _ := filepath.Rel(repository, path)
				found = append(found, collectorConfig{origin: filepath.ToSlash(origin) + where, text: text})
			}
		}
		return nil
	})
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(found, func(c collectorConfig) bool { return c.origin == "collector-config.yaml" }),
		"the default configuration was not found")
	return found
}

// documentsOf splits a YAML file into its documents, by their place in it.
func documentsOf(path string) (map[string][]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	documents := map[string][]byte{}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for n := 1; ; n++ {
		var node yaml.Node
		switch err := decoder.Decode(&node); {
		case errors.Is(err, io.EOF):
			return documents, nil
		case err != nil:
			return nil, fmt.Errorf("read document %d of %s: %w", n, path, err)
		}
		document, err := yaml.Marshal(&node)
		if err != nil {
			return nil, fmt.Errorf("write document %d of %s: %w", n, path, err)
		}
		where := ""
		if n > 1 {
			where = fmt.Sprintf(" document %d", n)
		}
		documents[where] = document
	}
}

// fencesOf returns the yaml fences of a Markdown file, by their line.
func fencesOf(path string) (map[string][]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	fences := map[string][]byte{}
	var (
		where  string
		indent string
		fence  []byte
	)
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		trimmed := strings.TrimSpace(line)
		switch {
		case where == "" && (strings.HasPrefix(trimmed, "```yaml") || strings.HasPrefix(trimmed, "```yml")):
			where, fence = fmt.Sprintf(" line %04d", n), nil
			indent, _, _ = strings.Cut(line, "`")
		case where != "" && trimmed == "```":
			fences[where], where = fence, ""
		case where != "":
			fence = append(fence, strings.TrimPrefix(line, indent)...)
		}
	}
	return fences, nil
}

// configsIn returns document itself if it is a collector configuration, else
// those that it carries in the data of a ConfigMap.
func configsIn(document []byte) [][]byte {
	var content map[string]any
	if yaml.Unmarshal(document, &content) != nil {
		return nil
	}
	if service, ok := content["service"].(map[string]any); ok && service["pipelines"] != nil {
		return [][]byte{document}
	}
	if content["kind"] != "ConfigMap" {
		return nil
	}
	var configs [][]byte
	data, _ := content["data"].(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(data)) {
		if text, ok := data[key].(string); ok {
			configs = append(configs, configsIn([]byte(text))...)
		}
	}
	return configs
}
