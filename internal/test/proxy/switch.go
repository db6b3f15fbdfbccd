// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net/http"
	"testing"
)

// Switching answers 101 and keeps the connection open until the test ends. The connection is no longer HTTP's, so no
// timeout of an HTTP client applies to it.
func Switching(tb testing.TB) http.HandlerFunc {
	tb.Helper()
	over := make(chan struct{})
	tb.Cleanup(func() { close(over) })
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, out, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = out.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_ = out.Flush()
		<-over
	}
}
