// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backendapi

import (
	"io"
	"net/http"
)

// maxDrained is read and thrown away of what is left of an answer, which keeps the connection for the next request.
const maxDrained = 64 << 10

// ReadAnswer reads at most so many bytes of an answer's body, which its caller closes. The body of a 101 is left alone: it is the
// connection itself, which no timeout of the client bounds, and nobody here asks for another protocol.
func ReadAnswer(resp *http.Response, most int64) ([]byte, error) {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	_, _ = io.CopyN(io.Discard, resp.Body, maxDrained)
	return body, err
}
