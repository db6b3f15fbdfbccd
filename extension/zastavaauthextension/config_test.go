// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavaauthextension

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/confmap"
)

func TestValidateReportsEachFaultWithoutSecrets(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no URL":        {func(c *Config) { c.TokenURL = "" }, "token_url is empty"},
		"another":       {func(c *Config) { c.TokenURL = "ftp://u:s3cret@h" }, "token_url is not an https URL"},
		"user":          {func(c *Config) { c.TokenURL = "https://u:s3cret@h" }, "token_url has a user"},
		"clear":         {func(c *Config) { c.TokenURL = "http://h" }, "would be sent in plain text"},
		"no client":     {func(c *Config) { c.ClientID = "" }, "client_id is empty"},
		"no secret":     {func(c *Config) { c.ClientSecret = "" }, "either client_secret or client_secret_file"},
		"two secrets":   {func(c *Config) { c.ClientSecretFile = "x" }, "either client_secret or client_secret_file"},
		"style":         {func(c *Config) { c.ClientAuth = "x" }, `client_auth "x" is unknown`},
		"parameter":     {func(c *Config) { c.EndpointParams = map[string]configopaque.String{"scope": "s3cret"} }, "endpoint_params::scope"},
		"timeout":       {func(c *Config) { c.Timeout = 0 }, "timeout 0s"},
		"expiry buffer": {func(c *Config) { c.ExpiryBuffer = -1 }, "expiry_buffer"},
		"refresh ahead": {func(c *Config) { c.RefreshAhead = -1 }, "refresh_ahead"},
		"algorithm":     {func(c *Config) { c.DPoP = configoptional.Some(DPoPConfig{Algorithm: "RS256"}) }, `algorithm "RS256" is unknown`},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := createDefaultConfig().(*Config)
			cfg.TokenURL, cfg.ClientID, cfg.ClientSecret = "https://idp.example.com/token", clientID, clientSecret
			require.NoError(t, confmap.Validate(cfg))
			tc.change(cfg)
			err := confmap.Validate(cfg)
			require.ErrorContains(t, err, tc.want)
			assert.NotContains(t, err.Error(), "s3cret")
		})
	}
}

func TestDPoPIsOnWhenItsSectionExists(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, confmap.NewFromStringMap(map[string]any{"client_id": "a"}).Unmarshal(cfg))
	assert.False(t, cfg.DPoP.HasValue())
	require.NoError(t, confmap.NewFromStringMap(map[string]any{"dpop": map[string]any{"algorithm": "Ed25519"}}).Unmarshal(cfg))
	require.True(t, cfg.DPoP.HasValue())
	assert.Equal(t, algorithmEd25519, cfg.DPoP.Get().Algorithm)
}
