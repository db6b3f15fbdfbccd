// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"path"
	"time"

	"go.opentelemetry.io/collector/confmap"

	"github.com/zastava-otel/zastava/internal/evidence/procfs"
	"github.com/zastava-otel/zastava/internal/redact"
)

// EvidenceConfig configures what is read of the containers' processes, and its limits.
type EvidenceConfig struct {
	// Enabled turns sampling on. It needs Linux, the host's PID namespace and some capabilities. Values that cannot be read are
	// reported as unknown.
	Enabled bool `mapstructure:"enabled"`
	// ResampleInterval is the time between two samples of a run, after those at 1 s and 30 s. At least 10 s; 0 = never.
	ResampleInterval time.Duration `mapstructure:"resample_interval"`
	// RefreshInterval is the time after which unchanged evidence of a run is reported again. 0 = never.
	RefreshInterval time.Duration `mapstructure:"refresh_interval"`
	// MaxCPUFraction limits the average CPU time of all samples, as a fraction of one core. 0 < f ≤ 1.
	MaxCPUFraction float64 `mapstructure:"max_cpu_fraction"`
	// Arguments is redacted, full or none. Redact has additional regular expressions (RE2) to mask.
	Arguments string   `mapstructure:"arguments"`
	Redact    []string `mapstructure:"redact"`
	// ProcRoot is the mount point of the host's proc file system.
	ProcRoot string `mapstructure:"proc_root"`
	// SamplerSocket is the Unix socket of a sampler that was started separately, so that the collector itself needs no capability to
	// read other processes. If empty, the receiver starts the sampler as a process of its own.
	SamplerSocket string `mapstructure:"sampler_socket"`
	// PackageOwners adds the distribution package that owns a file.
	PackageOwners bool `mapstructure:"package_owners"`
	// CacheEntries is the number of files whose hash and build id are cached.
	CacheEntries int `mapstructure:"cache_entries"`
	// Budgets limit what one sample reads.
	Budgets BudgetsConfig `mapstructure:"budgets"`

	explicit bool // the user set Enabled

	_ struct{}
}

var _ confmap.Unmarshaler = (*EvidenceConfig)(nil)

// Unmarshal stores whether the user set enabled: only then does a system without evidence cause a warning.
func (c *EvidenceConfig) Unmarshal(conf *confmap.Conf) error {
	if err := conf.Unmarshal(c); err != nil {
		return err
	}
	c.explicit = c.Enabled && conf.IsSet("enabled")
	return nil
}

// BudgetsConfig limits what is read. internal/evidence/procfs.Limits documents each limit.
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

// minResample prevents a typing error from causing a high load.
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

// config converts the options for the sampler.
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

func (c *EvidenceConfig) validate(fault reportFault) {
	if !c.Enabled {
		return
	}
	if c.ResampleInterval != 0 && c.ResampleInterval < minResample {
		fault("evidence.resample_interval: %v is too short; use at least %v, or 0 for never", c.ResampleInterval, minResample)
	}
	if c.RefreshInterval != 0 && c.RefreshInterval < c.ResampleInterval {
		fault("evidence.refresh_interval: %v is shorter than resample_interval (%v); use at least that, or 0 for never", c.RefreshInterval, c.ResampleInterval)
	}
	if c.SamplerSocket != "" && !path.IsAbs(c.SamplerSocket) {
		fault("evidence.sampler_socket: %q must be an absolute path, such as /run/zastava/sampler.sock", c.SamplerSocket)
	}
	if err := c.config().Validate(); err != nil {
		fault("evidence: %w; correct it, or set evidence.enabled to false", err)
	}
}
