// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavaauthextension

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configtls"
)

// The values of Config.ClientAuth.
const (
	clientAuthBasic = "basic" // in the Authorization header
	clientAuthPost  = "post"  // in the form
)

// The values of DPoPConfig.Algorithm.
const (
	algorithmEd25519 = "Ed25519"
	algorithmES256   = "ES256"
)

// Config is the configuration of the extension.
type Config struct {
	// TokenURL is the authorization server's token endpoint; it is required.
	TokenURL string `mapstructure:"token_url"`
	// ClientID is required.
	ClientID string `mapstructure:"client_id"`
	// ClientSecret or ClientSecretFile is required.
	ClientSecret configopaque.String `mapstructure:"client_secret"`
	// ClientSecretFile holds the secret, with white space around it ignored. It is read for each token.
	ClientSecretFile string `mapstructure:"client_secret_file"`
	// ClientAuth is basic or post.
	ClientAuth string `mapstructure:"client_auth"`
	// Scopes are asked for.
	Scopes []string `mapstructure:"scopes"`
	// Audience is sent as the parameter of that name. Empty: absent.
	Audience string `mapstructure:"audience"`
	// EndpointParams are further parameters of the request for a token. They may hold secrets.
	EndpointParams map[string]configopaque.String `mapstructure:"endpoint_params"`

	// TLS is of the connection to the token endpoint.
	TLS configtls.ClientConfig `mapstructure:"tls"`
	// Timeout is of a request for a token.
	Timeout time.Duration `mapstructure:"timeout"`

	// ExpiryBuffer is how long before it expires a token is no longer used, for clocks that differ and requests on their way.
	ExpiryBuffer time.Duration `mapstructure:"expiry_buffer"`
	// RefreshAhead is how long before that a token is renewed, less up to half of it by chance, so that many agents do not
	// ask at once. At most half the token's life is used.
	RefreshAhead time.Duration `mapstructure:"refresh_ahead"`

	// DPoP binds tokens to a key.
	DPoP configoptional.Optional[DPoPConfig] `mapstructure:"dpop"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// DPoPConfig says which key tokens are bound to.
type DPoPConfig struct {
	// KeyFile is a private key, Ed25519 or P-256, as PKCS #8 in PEM. Empty: a key is generated at each start.
	KeyFile string `mapstructure:"key_file"`
	// Algorithm is of the key that is generated: Ed25519 or ES256.
	Algorithm string `mapstructure:"algorithm"`

	// prevent unkeyed literal initialization
	_ struct{}
}

var _ component.Config = (*Config)(nil)

func createDefaultConfig() component.Config {
	return &Config{
		ClientAuth:   clientAuthBasic,
		Timeout:      10 * time.Second,
		ExpiryBuffer: 10 * time.Second,
		RefreshAhead: time.Minute,
		DPoP:         configoptional.Default(DPoPConfig{Algorithm: algorithmES256}),
	}
}

// reserved are parameters of the token request that have options of their own, or are the protocol's.
var reserved = []string{"grant_type", "scope", "client_id", "client_secret", "audience"}

// Validate tells everything that is wrong with the configuration, and the remedy. It quotes neither URL nor secret.
func (cfg *Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	u, err := url.Parse(cfg.TokenURL)
	switch {
	case cfg.TokenURL == "":
		fault("token_url is empty: set it to the token endpoint of the authorization server")
	case err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "":
		fault("token_url is not an https URL: write it as https://host/path")
	case u.User != nil || u.Fragment != "":
		fault("token_url has a user, password or fragment: leave them out and set client_id and client_secret")
	case u.Scheme == "http" && !cfg.TLS.Insecure:
		fault("token_url is not https: the client's secret would travel in clear; set tls::insecure to true if that is meant")
	}
	if cfg.ClientID == "" {
		fault("client_id is empty: set it to the name that the authorization server knows this client by")
	}
	if (cfg.ClientSecret == "") == (cfg.ClientSecretFile == "") {
		fault("set either client_secret or client_secret_file")
	}
	if cfg.ClientAuth != clientAuthBasic && cfg.ClientAuth != clientAuthPost {
		fault("client_auth %q is not known: use %q, or %q for servers that take the secret in the form only", cfg.ClientAuth, clientAuthBasic, clientAuthPost)
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.EndpointParams)) {
		if slices.Contains(reserved, name) {
			fault("endpoint_params::%s must not be set there: use the option for it", name)
		}
	}
	if cfg.Timeout <= 0 {
		fault("timeout %s is too short: use more than 0", cfg.Timeout)
	}
	if cfg.ExpiryBuffer < 0 {
		fault("expiry_buffer %s is negative: use 0 or more", cfg.ExpiryBuffer)
	}
	if cfg.RefreshAhead < 0 {
		fault("refresh_ahead %s is negative: use 0 or more", cfg.RefreshAhead)
	}
	return errors.Join(faults...)
}

// Validate is called by the collector.
func (cfg *DPoPConfig) Validate() error {
	if cfg.KeyFile == "" && cfg.Algorithm != algorithmEd25519 && cfg.Algorithm != algorithmES256 {
		return fmt.Errorf("algorithm %q is not known: use %s or %s", cfg.Algorithm, algorithmES256, algorithmEd25519)
	}
	return nil
}
