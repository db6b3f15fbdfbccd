// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/credentials"
)

func parse(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	require.NoError(t, err)
	return u
}

func TestCheckRefusesPlainTargetsThatAreNotLoopback(t *testing.T) {
	for target, allowed := range map[string]bool{
		"https://backend.example.com":     true,
		"HTTPS://backend.example.com":     true,
		"http://localhost:8686":           true,
		"http://LocalHost":                true,
		"http://127.0.0.1:8686":           true,
		"http://127.200.3.4":              true,
		"http://[::1]:8686":               true,
		"http://[::ffff:127.0.0.1]":       true,
		"http://backend.example.com":      false,
		"HTTP://backend.example.com":      false,
		"http://10.0.0.1":                 false,
		"http://0.0.0.0":                  false,
		"http://[::]":                     false,
		"http://[2001:db8::1]":            false,
		"http://localhost.example.com":    false,
		"http://127.0.0.1.example.com":    false,
		"http://localhost@example.com":    false,
		"http://128.0.0.1":                false,
		"http://[::ffff:10.0.0.1]":        false,
		"http://2130706433":               false,
		"http://127.1":                    false,
		"http://localhost.":               false,
		"http://u:s3cret@h/base?k=s3cret": false,
	} {
		err := credentials.Check("endpoint", parse(t, target), "the token of auth")
		if allowed {
			require.NoError(t, err, target)
			continue
		}
		require.ErrorIs(t, err, credentials.ErrPlain, target)
		require.ErrorContains(t, err, "endpoint "+credentials.Show(parse(t, target))+" is not https, so the token of auth would be sent in plain text: use https, or set insecure_credentials")
		assert.NotContains(t, err.Error(), "s3cret")
	}
}

func TestForwardRefusesAnotherServer(t *testing.T) {
	for _, c := range []struct {
		from, to string
		allowed  bool
	}{
		{"https://a.example.com/x", "https://a.example.com/y", true},
		{"https://a.example.com/x", "https://A.example.com/y", true},
		{"https://a.example.com", "http://a.example.com", false},
		{"https://a.example.com", "https://b.example.com", false},
		{"https://a.example.com", "https://a.example.com:8443", false},
		{"http://127.0.0.1:1", "http://127.0.0.1:2", false},
	} {
		first := &http.Request{URL: parse(t, c.from)}
		require.NoError(t, credentials.Forward(first))
		err := credentials.Forward(&http.Request{URL: parse(t, c.to), Response: &http.Response{Request: first}})
		assert.Equal(t, c.allowed, err == nil, "%s to %s: %v", c.from, c.to, err)
	}
}

func TestSecretHeadersAreKnownByNameOrValue(t *testing.T) {
	for name, want := range map[string]bool{
		"Authorization": true, "Proxy-Authorization": true, "X-Api-Key": true, "x-amz-security-token": true, "Cookie": true, "X-Vault-Token": true,
		"X-Scope-OrgID": false, "X-Forwarded-Proto": false, "Accept-Language": false, "X-Cluster": false,
	} {
		assert.Equal(t, want, credentials.IsSecretHeader(name, "value"), name)
	}
	assert.True(t, credentials.IsSecretHeader("X-Cluster", "Bearer abc"))
	assert.True(t, credentials.IsSecretHeader("X-Cluster", "eyJhbGciOiJIUzI1NiJ9.e30.x"))
}
