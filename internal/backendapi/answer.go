// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backendapi

import (
	"io"
	"net/http"
)

// maxDrained bounds what is read and dropped of the rest of an answer, so that the connection serves the next request.
const maxDrained = 64 << 10

// ReadAnswer returns at most most bytes of an answer's body, which the caller closes. It does not read the body of a 101: that is
// the connection itself, to which no timeout of the client applies, and no client of this API requests another protocol.
func ReadAnswer(resp *http.Response, most int64) ([]byte, error) {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	_, _ = io.CopyN(io.Discard, resp.Body, maxDrained)
	return body, err
}
