// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"path/filepath"
	"time"

	"github.com/Microsoft/go-winio"
)

// hasSockets says that no socket is looked for: no runtime of Windows serves one, and a file at \\run of a drive is whatever a
// user put there.
const hasSockets = false

// pipeExists tells whether somebody serves the pipe. A server that is busy serves it too.
func pipeExists(name string) bool {
	timeout := 100 * time.Millisecond
	conn, err := winio.DialPipe(filepath.FromSlash(name), &timeout)
	if err != nil {
		return err == winio.ErrTimeout //nolint:errorlint // go-winio returns it bare
	}
	_ = conn.Close()
	return true
}
