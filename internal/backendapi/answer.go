// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backendapi

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/zastava-otel/zastava/internal/limit"
)

// maxDrained bounds what is read and dropped of the rest of an answer, so that the connection serves the next request.
const maxDrained = 64 << 10

// ReadAnswer returns at most most bytes of an answer's body, which the caller closes. It unpacks gzip, which some proxies apply without
// being asked, within the same bound for the bytes before and after. It does not read the body of a 101: that is the connection itself,
// to which no timeout of the client applies, and no client of this API requests another protocol.
func ReadAnswer(resp *http.Response, most int64) ([]byte, error) {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil, nil
	}
	body, err := readBody(resp, most)
	_, _ = io.CopyN(io.Discard, resp.Body, maxDrained)
	return body, err
}

func readBody(resp *http.Response, most int64) ([]byte, error) {
	if resp.Uncompressed || !strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		return io.ReadAll(io.LimitReader(resp.Body, most))
	}
	unzip, err := gzip.NewReader(limit.Reader(resp.Body, most))
	if err != nil {
		return nil, fmt.Errorf("unpack the answer: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(unzip, most))
	if err != nil {
		return body, fmt.Errorf("unpack the answer: %w", err)
	}
	return body, nil
}
