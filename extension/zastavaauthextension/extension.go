// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavaauthextension

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensionauth"
	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/internal/fileaccess"
)

// Times and sizes of the connection to the token endpoint.
const (
	readIdleTimeout = 10 * time.Second // then an HTTP/2 ping
	pingTimeout     = 5 * time.Second
	idleConnTimeout = 90 * time.Second // as net/http's default transport
	maxHeaderBytes  = 64 << 10
)

// authenticator is the extension.
type authenticator struct {
	config *Config
	logger *zap.Logger

	// set by Start
	prover   *prover // nil for bearer tokens
	tokens   *source
	endpoint *http.Transport
}

var (
	_ extension.Extension      = (*authenticator)(nil)
	_ extensionauth.HTTPClient = (*authenticator)(nil)
)

// Start reads the key. It requests no token.
func (a *authenticator) Start(ctx context.Context, _ component.Host) error {
	files := &fileaccess.Warner{Logger: a.logger}
	files.Secret("client_secret_file", a.config.ClientSecretFile)
	files.Secret("tls::key_file", a.config.TLS.KeyFile)
	if a.config.DPoP.HasValue() {
		files.Secret("dpop::key_file", a.config.DPoP.Get().KeyFile)
		var err error
		if a.prover, err = newProver(a.config.DPoP.Get()); err != nil {
			return err
		}
		a.logger.Info("Tokens are bound to a key", zap.String("jkt", a.prover.thumbprint), zap.Bool("generated", a.config.DPoP.Get().KeyFile == ""))
	}
	tlsConfig, err := a.config.TLS.LoadTLSConfig(ctx)
	if err != nil {
		return fmt.Errorf("load the tls options of the token endpoint: %w", err)
	}
	a.endpoint = &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: tlsConfig, ForceAttemptHTTP2: true,
		// Packets that are dropped silently must not keep a connection alive for minutes.
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: readIdleTimeout, PingTimeout: pingTimeout},
		IdleConnTimeout:        idleConnTimeout,
		DisableCompression:     true, // the bound of an answer would be one of what it unpacks to
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
	fetcher, err := newFetcher(a.config, a.endpoint, a.prover, files)
	if err != nil {
		return err
	}
	a.tokens = newSource(fetcher.fetch, a.config.ExpiryBuffer, a.config.RefreshAhead, a.logger)
	return nil
}

// Shutdown closes the connections to the token endpoint.
func (a *authenticator) Shutdown(context.Context) error {
	if a.endpoint != nil {
		a.endpoint.CloseIdleConnections()
	}
	return nil
}

// RoundTripper returns a RoundTripper that adds a token, and with DPoP a proof, to the requests of base.
func (a *authenticator) RoundTripper(base http.RoundTripper) (http.RoundTripper, error) {
	if a.tokens == nil {
		return nil, errors.New("the extension is not started")
	}
	return &authenticated{base: base, tokens: a.tokens, prover: a.prover, insecure: a.config.InsecureCredentials}, nil
}

// origin returns the scope of a nonce: scheme, host and port.
func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }
