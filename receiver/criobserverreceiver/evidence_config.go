// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"time"

	"go.opentelemetry.io/collector/confmap"

	"github.com/zastava-otel/zastava/internal/evidence/procfs"
	"github.com/zastava-otel/zastava/internal/redact"
)

// EvidenceConfig says what is read of the processes of containers, and at which cost.
type EvidenceConfig struct {
	// Enabled has processes looked at. It needs Linux, the host's pid namespace and some capabilities; what it may not read is
	// told as unknown.
	Enabled bool `mapstructure:"enabled"`
	// ResampleInterval is between looks at a run, after those at 1 s and 30 s. 0: never again.
	ResampleInterval time.Duration `mapstructure:"resample_interval"`
	// RefreshInterval is after how long a run's evidence is told again although nothing changed. 0: never.
	RefreshInterval time.Duration `mapstructure:"refresh_interval"`
	// MaxCPUFraction is the share of one core that looking may take, on average. 0 < f ≤ 1.
	MaxCPUFraction float64 `mapstructure:"max_cpu_fraction"`
	// Arguments is redacted, full or none. Redact has regular expressions (RE2) of more to mask.
	Arguments string   `mapstructure:"arguments"`
	Redact    []string `mapstructure:"redact"`
	// ProcRoot is where the host's proc file system is.
	ProcRoot string `mapstructure:"proc_root"`
	// PackageOwners looks up which distribution package owns a file.
	PackageOwners bool `mapstructure:"package_owners"`
	// CacheEntries is of how many files hash and build id are remembered.
	CacheEntries int `mapstructure:"cache_entries"`
	// Budgets bound a look.
	Budgets BudgetsConfig `mapstructure:"budgets"`

	asked bool // Enabled is the user's word and not the default

	_ struct{}
}

var _ confmap.Unmarshaler = (*EvidenceConfig)(nil)

// Unmarshal notes whether the user asked for evidence: only who did is warned where there cannot be any.
func (c *EvidenceConfig) Unmarshal(conf *confmap.Conf) error {
	if err := conf.Unmarshal(c); err != nil {
		return err
	}
	c.asked = c.Enabled && conf.IsSet("enabled")
	return nil
}

// BudgetsConfig bounds what is read; internal/evidence/procfs.Limits says what each one is.
type BudgetsConfig struct {
	Processes      int           `mapstructure:"max_processes"`
	Mappings       int           `mapstructure:"max_mappings"`
	OpenFiles      int           `mapstructure:"max_open_files"`
	Files          int           `mapstructure:"max_files"`
	FileBytes      int64         `mapstructure:"max_file_bytes"`
	Bytes          int64         `mapstructure:"max_bytes"`
	BytesPerMinute int64         `mapstructure:"max_bytes_per_minute"`
	Time           time.Duration `mapstructure:"max_time"`
	Step           time.Duration `mapstructure:"step_timeout"`
	Stuck          int           `mapstructure:"max_stuck"`

	_ struct{}
}

// minResample keeps a typing error from turning looks into a load.
const minResample = 10 * time.Second

func defaultEvidence() EvidenceConfig {
	d := procfs.DefaultConfig()
	return EvidenceConfig{
		Enabled: true, ResampleInterval: 10 * time.Minute, RefreshInterval: 24 * time.Hour, MaxCPUFraction: d.MaxCPUFraction,
		Arguments: string(d.Arguments), ProcRoot: d.ProcRoot, CacheEntries: d.CacheEntries,
		Budgets: BudgetsConfig{
			Processes: d.Limits.Processes, Mappings: d.Limits.Mappings, OpenFiles: d.Limits.OpenFiles, Files: d.Limits.Files,
			FileBytes: d.Limits.FileBytes, Bytes: d.Limits.Bytes, BytesPerMinute: d.Limits.BytesPerMinute, Time: d.Limits.Time,
			Step: d.Limits.Step, Stuck: d.Limits.Stuck,
		},
	}
}

// config is what the sampler takes.
func (c *EvidenceConfig) config() procfs.Config {
	b := &c.Budgets
	return procfs.Config{
		ProcRoot: c.ProcRoot, Arguments: redact.Mode(c.Arguments), Redact: c.Redact, PackageOwners: c.PackageOwners, MaxCPUFraction: c.MaxCPUFraction,
		CacheEntries: c.CacheEntries,
		Limits: procfs.Limits{
			Processes: b.Processes, Mappings: b.Mappings, OpenFiles: b.OpenFiles, Files: b.Files, FileBytes: b.FileBytes, Bytes: b.Bytes,
			BytesPerMinute: b.BytesPerMinute, Time: b.Time, Step: b.Step, Stuck: b.Stuck,
		},
	}
}

func (c *EvidenceConfig) validate(fault func(string, ...any)) {
	if !c.Enabled {
		return
	}
	if c.ResampleInterval != 0 && c.ResampleInterval < minResample {
		fault("evidence.resample_interval: %v is too short; use at least %v, or 0 for never", c.ResampleInterval, minResample)
	}
	if c.RefreshInterval != 0 && c.RefreshInterval < c.ResampleInterval {
		fault("evidence.refresh_interval: %v is shorter than resample_interval (%v); use at least that, or 0 for never", c.RefreshInterval, c.ResampleInterval)
	}
	if err := c.config().Validate(); err != nil {
		fault("evidence: %w; correct it, or set evidence.enabled to false", err)
	}
}
