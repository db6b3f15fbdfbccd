// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configtls"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/zastava-otel/zastava/internal/tracker"
	"github.com/zastava-otel/zastava/receiver/criobserverreceiver/internal/metadata"
)

func TestConfigIsLoadedFromYAML(t *testing.T) {
	conf, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	load := func(id component.ID) *Config {
		sub, err := conf.Sub(id.String())
		require.NoError(t, err)
		cfg := createDefaultConfig()
		require.NoError(t, sub.Unmarshal(cfg))
		require.NoError(t, confmap.Validate(cfg))
		return cfg.(*Config)
	}
	assert.Equal(t, createDefaultConfig(), load(component.NewID(metadata.Type)))

	storage := component.MustNewID("file_storage")
	all := load(component.NewIDWithName(metadata.Type, "all"))
	want := createDefaultConfig().(*Config)
	want.Runtimes = []RuntimeConfig{
		{Name: "main", Engine: EngineContainerd, Endpoint: "unix:///run/containerd/containerd.sock", Stream: StreamNative},
		{Engine: EngineCRIO},
		{Engine: EngineDocker, Endpoint: "tcp://engine.example:2376", TLS: &configtls.ClientConfig{Config: configtls.Config{CAFile: "/etc/docker/ca.pem"}}},
	}
	want.PollInterval, want.ResyncInterval, want.DetectInterval, want.Timeout = time.Second, 5*time.Minute, 30*time.Second, 3*time.Second
	want.InitialInventory = tracker.InventoryAll
	want.Backoff.InitialInterval, want.Backoff.MaxInterval = 500*time.Millisecond, 30*time.Second
	want.CrashLoop = CrashLoopConfig{Threshold: 5, Window: 5 * time.Minute}
	want.Labels, want.Annotations = []string{"app", "app.kubernetes.io/*"}, []string{"example.com/owner"}
	want.Include = []MatchConfig{{Namespaces: []string{"payments", "team-*"}}}
	want.Exclude = []MatchConfig{{Containers: []string{"istio-proxy"}, Images: []string{"*pause*"}}}
	want.NodeName, want.HostRoot, want.StorageID = "node-1", "/host", &storage
	assert.Equal(t, want, all)
}

func TestConfigStructHasAllTags(t *testing.T) {
	require.NoError(t, componenttest.CheckConfigStruct(createDefaultConfig()))
}

// Each entry has one fault and the part of the error that must report it.
func TestValidateReportsEveryFault(t *testing.T) {
	faults := []struct {
		name string
		make func(*Config)
		want string
	}{
		{"engine", func(c *Config) { c.Runtimes = []RuntimeConfig{{Engine: "rkt"}} }, `runtimes[0].engine: "rkt" is unknown; use`},
		{"stream", func(c *Config) { c.Runtimes = []RuntimeConfig{{Stream: "tcp"}} }, `runtimes[0].stream: "tcp" is unknown; use`},
		{"native stream of CRI-O", func(c *Config) { c.Runtimes = []RuntimeConfig{{Engine: EngineCRIO, Stream: StreamNative}} }, "native exists on containerd and docker only"},
		{"CRI stream of Docker", func(c *Config) { c.Runtimes = []RuntimeConfig{{Engine: EngineDocker, Stream: StreamCRI}} }, "docker has no CRI stream"},
		{"a socket under two names", func(c *Config) {
			c.Runtimes = []RuntimeConfig{{Endpoint: "/run/docker.sock"}, {Endpoint: "unix:///run/docker.sock"}}
		}, "runtimes[1].endpoint: \"unix:///run/docker.sock\" is the endpoint of runtimes[0] too"},
		{"a socket under two paths", func(c *Config) {
			c.Runtimes = []RuntimeConfig{{Endpoint: "unix:///var/run/docker.sock"}, {Endpoint: "unix:///run/docker.sock"}}
		}, "runtimes[1].endpoint: \"unix:///run/docker.sock\" is the endpoint of runtimes[0] too"},
		{"ssh", func(c *Config) { c.Runtimes = []RuntimeConfig{{Endpoint: "ssh://me@host"}} }, "ssh:// is not supported"},
		{"tcp for CRI", func(c *Config) { c.Runtimes = []RuntimeConfig{{Engine: EngineCRI, Endpoint: "tcp://host:1"}} }, `the scheme "tcp" is not known to CRI`},
		{"tls of a socket", func(c *Config) {
			c.Runtimes = []RuntimeConfig{{Engine: EngineDocker, Endpoint: "unix:///run/docker.sock", TLS: &configtls.ClientConfig{}}}
		}, "runtimes[0].tls: is for tcp:// endpoints"},
		{"endpoint", func(c *Config) { c.Runtimes = []RuntimeConfig{{Endpoint: "http://x"}} }, "runtimes[0].endpoint: "},
		{"endpoint twice", func(c *Config) { c.Runtimes = []RuntimeConfig{{Endpoint: "unix:///a"}, {Endpoint: "unix:///a"}} }, "runtimes[1].endpoint: \"unix:///a\" is the endpoint of runtimes[0] too"},
		{"name twice", func(c *Config) { c.Runtimes = []RuntimeConfig{{Name: "a"}, {Name: "a"}} }, "runtimes[1].name"},
		{"name with a slash", func(c *Config) { c.Runtimes = []RuntimeConfig{{Name: "a/b"}} }, "has a slash"},
		{"poll_interval", func(c *Config) { c.PollInterval = time.Millisecond }, "poll_interval: 1ms is too short; use at least"},
		{"resync_interval", func(c *Config) { c.ResyncInterval = time.Second }, "resync_interval: 1s is shorter than poll_interval (2s)"},
		{"detect_interval", func(c *Config) { c.DetectInterval = 0 }, "detect_interval: 0s is too short"},
		{"timeout", func(c *Config) { c.Timeout = -1 }, "timeout: -1ns is not a valid deadline"},
		{"initial_inventory", func(c *Config) { c.InitialInventory = "some" }, `initial_inventory: "some" is unknown; use running, all or none`},
		{"backoff ends", func(c *Config) { c.Backoff.MaxElapsedTime = time.Hour }, "backoff.max_elapsed_time: 1h0m0s would end the observation"},
		{"backoff off", func(c *Config) { c.Backoff.Enabled = false }, "backoff.enabled: false would end the observation"},
		{"backoff order", func(c *Config) { c.Backoff.MaxInterval = time.Millisecond }, "backoff: initial_interval 1s and max_interval 1ms"},
		{"threshold", func(c *Config) { c.CrashLoop.Threshold = 1 }, "crash_loop.threshold: 1 is not a valid number"},
		{"window", func(c *Config) { c.CrashLoop.Window = 0 }, "crash_loop.window: 0s is not a valid window"},
		{"label", func(c *Config) { c.Labels = []string{""} }, "labels[0]: is empty"},
		{"label that is not a glob", func(c *Config) { c.Labels = []string{"app", "[a"} }, `labels[1]: "[a" is not a glob`},
		{"annotation that is not a glob", func(c *Config) { c.Annotations = []string{"[a"} }, `annotations[0]: "[a" is not a glob`},
		{"include", func(c *Config) { c.Include = []MatchConfig{{Pods: []string{"[x"}}} }, `include[0].pods[0]: "[x" is not a glob`},
		{"exclude everything", func(c *Config) { c.Exclude = []MatchConfig{{}} }, "exclude[0]: is empty and would match everything"},
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			cfg := createDefaultConfig().(*Config)
			f.make(cfg)
			require.ErrorContains(t, cfg.Validate(), f.want)
		})
	}
	t.Run("all at once", func(t *testing.T) {
		cfg := createDefaultConfig().(*Config)
		cfg.PollInterval, cfg.Timeout, cfg.CrashLoop.Threshold = 0, 0, -1
		err := cfg.Validate()
		require.Error(t, err)
		assert.Len(t, strings.Split(err.Error(), "\n"), 3)
	})
}

func TestValidateDoesNotRepeatThePasswordOfAnEndpoint(t *testing.T) {
	for _, endpoint := range []string{
		"ssh://me:hunter2@host", "https://me:hunter2@host:2376", "tcp://me:hunter2@host:2376", "me:hunter2@host:2376", "tcp:/me:hunter2@host:2376",
	} {
		for _, engine := range []Engine{EngineAuto, EngineDocker, EngineCRI} {
			c := createDefaultConfig().(*Config)
			rc := RuntimeConfig{Engine: engine, Endpoint: endpoint, TLS: &configtls.ClientConfig{}}
			c.Runtimes = []RuntimeConfig{rc, rc}
			err := c.Validate()
			require.ErrorContains(t, err, "runtimes[0].endpoint: ", endpoint)
			assert.NotContains(t, err.Error(), "hunter2")
		}
	}
}

func TestValidateReportsFaultsOfEvidence(t *testing.T) {
	for field, change := range map[string]func(*EvidenceConfig){
		"evidence.resample_interval":    func(c *EvidenceConfig) { c.ResampleInterval = time.Second },
		"evidence.refresh_interval":     func(c *EvidenceConfig) { c.RefreshInterval = time.Minute },
		"evidence: max_cpu_fraction":    func(c *EvidenceConfig) { c.MaxCPUFraction = 1.5 },
		"arguments mode":                func(c *EvidenceConfig) { c.Arguments = "some" },
		"evidence: expression 0":        func(c *EvidenceConfig) { c.Redact = []string{"("} },
		"evidence: proc_root":           func(c *EvidenceConfig) { c.ProcRoot = "proc" },
		"max_files must be more than 0": func(c *EvidenceConfig) { c.Budgets.Files = 0 },
	} {
		cfg := createDefaultConfig().(*Config)
		require.NoError(t, cfg.Validate())
		change(&cfg.Evidence)
		require.ErrorContains(t, cfg.Validate(), field)
		cfg.Evidence.Enabled = false
		require.NoError(t, cfg.Validate(), "disabled evidence is not validated")
	}
}
