// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package criobserverreceiver

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configtls"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/zastava-otel/zastava/internal/test/certs"
	"github.com/zastava-otel/zastava/internal/test/engine"
)

// The dockerd listens on TCP and requires client certificates (--tlsverify).
func TestDockerConnectsOverTLSWithTheRightCertificatesOnly(t *testing.T) {
	dir := t.TempDir()
	ours, theirs := certs.New(t), certs.New(t)
	ourCA, theirCA := filepath.Join(dir, "ours.pem"), filepath.Join(dir, "theirs.pem")
	ours.WriteTo(ourCA)
	theirs.WriteTo(theirCA)
	serverCert, serverKey := ours.Issue(dir, "server", certs.None)
	clientCert, clientKey := ours.Issue(dir, "client", certs.None)
	strangerCert, strangerKey := theirs.Issue(dir, "stranger", certs.None)
	d := engine.ForTest(t, engine.Options{TLS: engine.TLS{CA: ourCA, Cert: serverCert, Key: serverKey}})
	endpoint := "tcp://" + d.Address()
	with := func(ca, cert, key string) *configtls.ClientConfig {
		return &configtls.ClientConfig{Config: configtls.Config{CAFile: ca, CertFile: cert, KeyFile: key}}
	}
	elsewhere := with(ourCA, clientCert, clientKey)
	elsewhere.ServerName = "engine.example.test"
	cases := []struct {
		name  string
		tls   *configtls.ClientConfig
		fails []string // parts of the error
		warns bool
	}{
		{"the right certificates", with(ourCA, clientCert, clientKey), nil, false},
		{"another authority", with(theirCA, clientCert, clientKey), []string{"certificate signed by unknown authority", "check tls: the certificate authority"}, false},
		{"no client certificate", with(ourCA, "", ""), []string{"tls: ", "check tls: the certificate authority, the client certificate"}, false},
		{"a client certificate of another authority", with(ourCA, strangerCert, strangerKey), []string{"tls: ", "check tls"}, false},
		{"another server name", elsewhere, []string{"engine.example.test", "server_name_override"}, false},
		{"no TLS", nil, []string{"the engine expects TLS: add a tls block"}, true},
		{"a missing file", with(filepath.Join(t.TempDir(), "none.pem"), "", ""), []string{`runtime "remote": tls:`, "none.pem"}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := dockerReceiver(t)
			core, logs := observer.New(zap.WarnLevel)
			rt, info, err := r.opener(RuntimeConfig{Endpoint: endpoint, TLS: c.tls}, "remote", zap.New(core))(t.Context())
			assert.Equal(t, c.warns, logs.FilterMessageSnippet("plain text").Len() == 1)
			if c.fails != nil {
				require.Error(t, err)
				for _, part := range c.fails {
					require.ErrorContains(t, err, part)
				}
				return
			}
			require.NoError(t, err)
			defer func() { assert.NoError(t, rt.Close()) }()
			assert.Equal(t, "docker", info.Engine)
			_, err = rt.List(t.Context(), nil)
			require.NoError(t, err)
		})
	}
}
