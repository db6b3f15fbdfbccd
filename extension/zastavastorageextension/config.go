// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavastorageextension

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"go.opentelemetry.io/collector/component"
)

const (
	defaultLockTimeout = 2 * time.Second // a predecessor that is being stopped
	maxLockTimeout     = time.Minute
)

// Config is the configuration of the extension.
type Config struct {
	// Directory has a directory for each component; it is made when it is not there. Required.
	Directory string `mapstructure:"directory"`
	// FSync has what was accepted on the medium before it counts as accepted.
	FSync bool `mapstructure:"fsync"`
	// LockTimeout is how long another process may keep a queue before a second one is begun beside it; 0 to 1 m.
	LockTimeout time.Duration `mapstructure:"lock_timeout"`

	// prevent unkeyed literal initialization
	_ struct{}
}

var _ component.Config = (*Config)(nil)

func createDefaultConfig() component.Config {
	return &Config{FSync: true, LockTimeout: defaultLockTimeout}
}

// Validate tells everything that is wrong with the configuration, and the remedy.
func (cfg *Config) Validate() error {
	var faults []error
	switch {
	case cfg.Directory == "":
		faults = append(faults, errors.New("directory is empty: name one on a disk that survives a restart, for example /var/lib/zastava"))
	case !filepath.IsAbs(cfg.Directory) && cfg.Directory != filepath.Clean(cfg.Directory):
		faults = append(faults, fmt.Errorf("directory %q is relative and has detours: write it as an absolute path", cfg.Directory))
	}
	if cfg.LockTimeout < 0 || cfg.LockTimeout > maxLockTimeout {
		faults = append(faults, fmt.Errorf("lock_timeout %v is not between 0 and %v", cfg.LockTimeout, maxLockTimeout))
	}
	return errors.Join(faults...)
}
