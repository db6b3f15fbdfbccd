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
	defaultLockTimeout = 2 * time.Second // a previous collector that is shutting down
	maxLockTimeout     = time.Minute
)

// Config is the configuration of the extension.
type Config struct {
	// Directory contains a directory for each component. It is created if it does not exist. Required.
	Directory string `mapstructure:"directory"`
	// FSync writes items to the medium before they count as accepted.
	FSync bool `mapstructure:"fsync"`
	// LockTimeout is how long to wait for a directory that another process uses before a second one is created; 0 to 1 m.
	LockTimeout time.Duration `mapstructure:"lock_timeout"`

	// prevent unkeyed literal initialization
	_ struct{}
}

var _ component.Config = (*Config)(nil)

func createDefaultConfig() component.Config {
	return &Config{FSync: true, LockTimeout: defaultLockTimeout}
}

// Validate reports every fault at once with its remedy.
func (cfg *Config) Validate() error {
	var faults []error
	switch {
	case cfg.Directory == "":
		faults = append(faults, errors.New("directory is empty: set it to a directory on a disk that survives a restart, for example /var/lib/zastava"))
	case !filepath.IsAbs(cfg.Directory) && cfg.Directory != filepath.Clean(cfg.Directory):
		faults = append(faults, fmt.Errorf("directory %q is relative and not in its shortest form: use an absolute path", cfg.Directory))
	}
	if cfg.LockTimeout < 0 || cfg.LockTimeout > maxLockTimeout {
		faults = append(faults, fmt.Errorf("lock_timeout %v is not between 0 and %v", cfg.LockTimeout, maxLockTimeout))
	}
	return errors.Join(faults...)
}
