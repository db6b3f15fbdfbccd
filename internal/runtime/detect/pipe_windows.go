// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"path/filepath"
	"time"

	"github.com/Microsoft/go-winio"
)

// hasSockets disables the search for sockets. No runtime on Windows uses them, and any user can create a file below \\run.
const hasSockets = false

// pipeExists reports whether a process serves the pipe. A timeout means that its server is busy.
func pipeExists(name string) bool {
	timeout := 100 * time.Millisecond
	conn, err := winio.DialPipe(filepath.FromSlash(name), &timeout)
	if err != nil {
		return err == winio.ErrTimeout //nolint:errorlint // go-winio returns it bare
	}
	_ = conn.Close()
	return true
}
