// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package distro

import (
	"encoding/json"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap/confmaptest"
)

const (
	repository = "../../.."

	ownModule = "github.com/zastava-otel/zastava"
	core      = "go.opentelemetry.io/collector/"
	contrib   = "github.com/open-telemetry/opentelemetry-collector-contrib/"
)

// manifest is the part of an ocb manifest that these tests read.
type manifest struct {
	Dist       map[string]string `mapstructure:"dist"`
	Receivers  []module          `mapstructure:"receivers"`
	Processors []module          `mapstructure:"processors"`
	Exporters  []module          `mapstructure:"exporters"`
	Extensions []module          `mapstructure:"extensions"`
	Providers  []module          `mapstructure:"providers"`
	Telemetry  module            `mapstructure:"telemetry"`
}

type module struct {
	GoMod  string `mapstructure:"gomod"`
	Import string `mapstructure:"import"`
	Path   string `mapstructure:"path"`
}

// importPath is the package that ocb imports for m.
func (m module) importPath() string {
	if m.Import != "" {
		return m.Import
	}
	name, _, _ := strings.Cut(m.GoMod, " ")
	return name
}

func (m manifest) modules() []module {
	all := []module{m.Telemetry}
	for _, kind := range [][]module{m.Receivers, m.Processors, m.Exporters, m.Extensions, m.Providers} {
		all = append(all, kind...)
	}
	return all
}

func readManifest(t *testing.T, name string) manifest {
	t.Helper()
	conf, err := confmaptest.LoadConf(filepath.Join(repository, name))
	require.NoError(t, err)
	var m manifest
	require.NoError(t, conf.Unmarshal(&m), "%s has a key that these tests do not know", name)
	return m
}

func importPaths(modules []module) []string {
	paths := make([]string, 0, len(modules))
	for _, m := range modules {
		paths = append(paths, m.importPath())
	}
	return paths
}

// requirements are the versions that a go.mod requires, by module path.
func requirements(t *testing.T, dir string) map[string]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json")
	cmd.Dir = filepath.Join(repository, dir)
	out, err := cmd.Output()
	require.NoError(t, err, "read go.mod of %q", dir)
	var mod struct {
		Require []struct{ Path, Version string }
	}
	require.NoError(t, json.Unmarshal(out, &mod))
	versions := make(map[string]string, len(mod.Require))
	for _, r := range mod.Require {
		versions[r.Path] = r.Version
	}
	return versions
}

func TestFullDistributionHasThePromisedComponents(t *testing.T) {
	m := readManifest(t, "builder-config.yaml")

	assert.ElementsMatch(t, []string{
		ownModule + "/receiver/criobserverreceiver",
		core + "receiver/otlpreceiver",
	}, importPaths(m.Receivers))
	assert.ElementsMatch(t, []string{
		ownModule + "/exporter/zastavabackendexporter",
		core + "exporter/debugexporter",
		core + "exporter/otlpexporter",
		core + "exporter/otlphttpexporter",
		contrib + "exporter/fileexporter",
		contrib + "exporter/kafkaexporter",
	}, importPaths(m.Exporters))
	assert.ElementsMatch(t, []string{
		core + "processor/batchprocessor",
		core + "processor/memorylimiterprocessor",
		contrib + "processor/filterprocessor",
		contrib + "processor/k8sattributesprocessor",
		contrib + "processor/resourcedetectionprocessor",
		contrib + "processor/resourceprocessor",
		contrib + "processor/transformprocessor",
	}, importPaths(m.Processors))
	assert.ElementsMatch(t, []string{
		ownModule + "/extension/zastavaauthextension",
		ownModule + "/extension/zastavastorageextension",
		core + "extension/zpagesextension",
		contrib + "extension/bearertokenauthextension",
		contrib + "extension/healthcheckextension",
		contrib + "extension/pprofextension",
		contrib + "extension/storage/filestorage",
	}, importPaths(m.Extensions))
	assert.ElementsMatch(t, []string{
		core + "confmap/provider/envprovider",
		core + "confmap/provider/fileprovider",
		core + "confmap/provider/yamlprovider",
	}, importPaths(m.Providers))
}

// The type of a component, as configuration names it, is the name of its
// package without the kind and with underscores that the package lacks. OTLP is
// there for a gateway between the default pipeline and the backend.
func TestSlimDistributionHasTheComponentsOfTheDefaultPipeline(t *testing.T) {
	conf, err := confmaptest.LoadConf(filepath.Join(repository, "collector-config.yaml"))
	require.NoError(t, err)
	m := readManifest(t, "builder-config.slim.yaml")

	for kind, modules := range map[string][]module{
		"receiver": m.Receivers, "processor": m.Processors, "exporter": m.Exporters, "extension": m.Extensions,
	} {
		used, err := conf.Sub(kind + "s")
		require.NoError(t, err)
		var want, got []string
		for component := range used.ToStringMap() {
			name, _, _ := strings.Cut(component, "/")
			want = append(want, strings.ReplaceAll(name, "_", ""))
		}
		if kind == "receiver" || kind == "exporter" {
			want = append(want, "otlp")
		}
		for _, mod := range modules {
			got = append(got, strings.TrimSuffix(path.Base(mod.importPath()), kind))
		}
		assert.ElementsMatch(t, want, got, "%ss", kind)
	}
}

func TestManifestsAgreeWithTheModulePins(t *testing.T) {
	pins := requirements(t, ".")
	// The two version lines of the core modules, unstable and stable, and contrib's, which follows the first.
	unstable, stable := pins[core+"otelcol"], pins[core+"pdata"]
	require.NotEmpty(t, unstable, "go.mod does not pin otelcol")
	require.NotEmpty(t, stable, "go.mod does not pin pdata")

	full := readManifest(t, "builder-config.yaml")
	slim := readManifest(t, "builder-config.slim.yaml")
	for name, m := range map[string]manifest{"full": full, "slim": slim} {
		for _, mod := range m.modules() {
			modPath, version, _ := strings.Cut(mod.GoMod, " ")
			switch {
			case modPath == ownModule:
				assert.Equal(t, ".", mod.Path, "%s: %s must be built from this tree", name, mod.importPath())
				assert.DirExists(t, filepath.Join(repository, strings.TrimPrefix(mod.Import, ownModule)), name)
			case pins[modPath] != "":
				assert.Equal(t, pins[modPath], version, "%s: %s", name, modPath)
			case strings.HasPrefix(modPath, contrib):
				assert.Equal(t, unstable, version, "%s: %s", name, modPath)
			default:
				assert.Contains(t, []string{unstable, stable}, version, "%s: %s", name, modPath)
			}
		}
	}
	assert.Equal(t, full.Providers, slim.Providers)
	assert.Equal(t, full.Telemetry, slim.Telemetry)
	assert.Equal(t, full.Dist["version"], slim.Dist["version"])
}

// ocb adds modules of its own version, and mdatagen generates for its own.
func TestCollectorToolsHaveTheCollectorsVersion(t *testing.T) {
	unstable := requirements(t, ".")[core+"otelcol"]
	tools := requirements(t, "internal/tools")
	for _, tool := range []string{"cmd/builder", "cmd/mdatagen"} {
		assert.Equal(t, unstable, tools[core+tool], tool)
	}
}
