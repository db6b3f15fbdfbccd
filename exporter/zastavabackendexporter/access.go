// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"errors"
	"path/filepath"

	"github.com/zastava-otel/zastava/internal/fileaccess"
	"github.com/zastava-otel/zastava/internal/quarantine"
)

// checkAccess warns of a private key that other users can read, and refuses a quarantine that they can write to: replay would send
// what they put there in our name.
func (c *connection) checkAccess() error {
	(&fileaccess.Warner{Logger: c.logger}).Secret("tls::key_file", c.config.ClientConfig.TLS.KeyFile)
	directory := c.config.Quarantine.Directory
	if directory == "" {
		return nil
	}
	return errors.Join(
		fileaccess.CheckDirectory("quarantine::directory", directory),
		fileaccess.CheckDirectory("quarantine::directory", filepath.Join(directory, quarantine.FactsDirectory)),
	)
}
