// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestIssueMakesCertificatesWithTheRequestedFault shakes hands with a server that has a certificate, both ends asking for the other's.
func TestIssueMakesCertificatesWithTheRequestedFault(t *testing.T) {
	dir := t.TempDir()
	ca, other := New(t), New(t)
	ca.WriteTo(filepath.Join(dir, "ca.pem"))
	raw, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	require.NoError(t, err)
	trusted := x509.NewCertPool()
	require.True(t, trusted.AppendCertsFromPEM(raw))
	load := func(cert, key string) []tls.Certificate {
		c, err := tls.LoadX509KeyPair(cert, key)
		require.NoError(t, err)
		return []tls.Certificate{c}
	}
	for _, tt := range []struct {
		desc  string
		by    *CA
		fault Fault
		says  string // empty: no error
	}{
		{"good", ca, None, ""},
		{"expired", ca, Expired, "has expired"},
		{"another host's", ca, OtherName, "cannot validate certificate for 127.0.0.1"},
		{"another authority's", other, None, "signed by unknown authority"},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.NotFoundHandler())
			server.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of the handshakes that fail
			server.TLS = &tls.Config{Certificates: load(tt.by.Issue(dir, "server", tt.fault)), ClientCAs: trusted, ClientAuth: tls.RequireAndVerifyClientCert}
			server.StartTLS()
			defer server.Close()
			client := &http.Client{Transport: &http.Transport{
				DisableKeepAlives: true, TLSClientConfig: &tls.Config{Certificates: load(ca.Issue(dir, "client", None)), RootCAs: trusted},
			}}
			resp, err := client.Get(server.URL)
			if tt.says == "" {
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				return
			}
			assert.ErrorContains(t, err, tt.says)
		})
	}
}
