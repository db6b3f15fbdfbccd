// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"path/filepath"
	"time"

	"github.com/Microsoft/go-winio"
)

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
