// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavaauthextension

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/internal/fileaccess"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

// said is a server that answers every request with the same.
type said struct {
	status int
	header http.Header
	body   string
}

func (s said) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
	}
	return &http.Response{StatusCode: s.status, Header: s.header, Body: io.NopCloser(strings.NewReader(s.body)), Request: req, ProtoMajor: 1, ProtoMinor: 1}, nil
}

// FuzzTokenAnswers: whatever an authorization server answers, it is a token that can be sent, or an error that quotes neither the server
// nor the secret.
func FuzzTokenAnswers(f *testing.F) {
	f.Add(200, "application/json", "", `{"access_token":"abc","token_type":"Bearer","expires_in":3600}`, false)
	f.Add(200, "application/json", "n", `{"access_token":"abc","token_type":"DPoP","expires_in":"1e999"}`, true)
	f.Add(200, "application/x-www-form-urlencoded", "", `access_token=abc&expires_in=99999999999999999999`, false)
	f.Add(200, "application/json", "", `{"access_token":"a\nb","expires_in":-9223372036854775808}`, false)
	f.Add(400, "application/json", "nonce", `{"error":"use_dpop_nonce","error_description":"s3cret+/ %"}`, true)
	f.Add(101, "", "\x00", "", true)
	f.Add(200, "application/json", "", strings.Repeat("[", 20_000), false)
	f.Add(200, "application/json", "", `{"access_token":"t","expires_in":`+strings.Repeat("9", 20_000)+`}`, false)
	f.Add(200, "application/json", "", `{"x":[`+strings.Repeat("{},", 20_000)+`{}]}`, false)
	f.Add(200, "text/plain", "", strings.Repeat("x", maxResponseBytes+1), false)
	p, err := newProver(&DPoPConfig{Algorithm: algorithmEd25519})
	require.NoError(f, err)
	config := &Config{TokenURL: "https://auth.example.com/token", ClientID: clientID, ClientSecret: configopaque.String(clientSecret), Timeout: 5 * time.Second}
	f.Fuzz(func(t *testing.T, status int, contentType, nonce, body string, bound bool) {
		oracle.Bound(t, oracle.Parsing(len(contentType)+len(nonce)+len(body)))
		var with *prover
		if bound {
			with = p
		}
		server := said{100 + max(0, status)%500, http.Header{"Content-Type": {contentType}, headerNonce: {nonce}}, body}
		fetcher, err := newFetcher(config, server, with, &fileaccess.Warner{Logger: zap.NewNop()})
		require.NoError(t, err)
		token, err := fetcher.fetch(t.Context())
		if err != nil {
			require.Nil(t, token)
			assert.NotContains(t, err.Error(), clientSecret)
			assert.Less(t, len(err.Error()), 512, "the answer is not quoted: %v", err)
			return
		}
		require.NotEmpty(t, token.AccessToken)
		s := newSource(fetcher.fetch, time.Second, time.Second, zap.NewNop())
		s.store(token)
		assert.LessOrEqual(t, s.expiryBuffer(), time.Second)
	})
}
