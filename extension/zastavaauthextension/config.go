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

	"github.com/zastava-otel/zastava/internal/credentials"
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
	// TokenURL is the token endpoint of the authorization server. Required.
	TokenURL string `mapstructure:"token_url"`
	// ClientID is the id of this client at the authorization server. Required.
	ClientID string `mapstructure:"client_id"`
	// ClientSecret is the client's secret. Either it or ClientSecretFile is required.
	ClientSecret configopaque.String `mapstructure:"client_secret"`
	// ClientSecretFile is a file with the secret. Surrounding white space is ignored. The file is read for each token.
	ClientSecretFile string `mapstructure:"client_secret_file"`
	// ClientAuth is how the secret is sent: basic or post.
	ClientAuth string `mapstructure:"client_auth"`
	// Scopes are the requested scopes.
	Scopes []string `mapstructure:"scopes"`
	// Audience is the parameter audience of the request; not sent if empty.
	Audience string `mapstructure:"audience"`
	// EndpointParams are further parameters of the token request. They may be secrets.
	EndpointParams map[string]configopaque.String `mapstructure:"endpoint_params"`

	// InsecureCredentials allows the secret and the tokens to be sent over http to another machine, where everybody on the way can
	// read them.
	InsecureCredentials bool `mapstructure:"insecure_credentials"`

	// TLS configures the connection to the token endpoint.
	TLS configtls.ClientConfig `mapstructure:"tls"`
	// Timeout is the deadline of a token request.
	Timeout time.Duration `mapstructure:"timeout"`

	// ExpiryBuffer is how long before its expiry a token is no longer used. It covers clock differences and the time that a
	// request takes. At most half of the token's lifetime is used.
	ExpiryBuffer time.Duration `mapstructure:"expiry_buffer"`
	// RefreshAhead is how long before that a token is renewed. A random part, up to half of it, is subtracted so that many agents
	// do not renew at the same time. At most half of the token's lifetime is used.
	RefreshAhead time.Duration `mapstructure:"refresh_ahead"`

	// DPoP binds tokens to a key (RFC 9449). Bearer tokens are used if it is unset.
	DPoP configoptional.Optional[DPoPConfig] `mapstructure:"dpop"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// DPoPConfig configures the key that tokens are bound to.
type DPoPConfig struct {
	// KeyFile is a private key, Ed25519 or P-256, as PKCS #8 in PEM. If empty, a key is generated at each start.
	KeyFile string `mapstructure:"key_file"`
	// Algorithm is the algorithm of a generated key: Ed25519 or ES256.
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

// reserved are the parameters of a token request that have an option of their own or belong to the protocol.
var reserved = []string{"grant_type", "scope", "client_id", "client_secret", "audience"}

// Validate reports every fault at once with its remedy. It quotes no secrets, and URLs without user, password and query.
func (cfg *Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if err := cfg.validateTokenURL(); err != nil {
		faults = append(faults, err)
	}
	if cfg.ClientID == "" {
		fault("client_id is empty: set it to the id of this client at the authorization server")
	}
	if (cfg.ClientSecret == "") == (cfg.ClientSecretFile == "") {
		fault("set either client_secret or client_secret_file")
	}
	if cfg.ClientAuth != clientAuthBasic && cfg.ClientAuth != clientAuthPost {
		fault("client_auth %q is unknown: use %q, or %q for servers that accept the secret in the form only", cfg.ClientAuth, clientAuthBasic, clientAuthPost)
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.EndpointParams)) {
		if slices.Contains(reserved, name) {
			fault("endpoint_params::%s is not allowed: use the option for it", name)
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

// validateTokenURL does not quote a URL that may contain a password.
func (cfg *Config) validateTokenURL() error {
	u, err := url.Parse(cfg.TokenURL)
	switch {
	case cfg.TokenURL == "":
		return errors.New("token_url is empty: set it to the token endpoint of the authorization server")
	case err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "":
		return errors.New("token_url is not an https URL: write it as https://host/path")
	case u.User != nil || u.Fragment != "":
		return errors.New("token_url has a user, password or fragment: remove them and set client_id and client_secret")
	case cfg.InsecureCredentials:
		return nil
	default:
		return credentials.Check("token_url", u, "the client's secret")
	}
}

// Validate reports an unknown algorithm.
func (cfg *DPoPConfig) Validate() error {
	if cfg.KeyFile == "" && cfg.Algorithm != algorithmEd25519 && cfg.Algorithm != algorithmES256 {
		return fmt.Errorf("algorithm %q is unknown: use %s or %s", cfg.Algorithm, algorithmES256, algorithmEd25519)
	}
	return nil
}
