// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package criobserverreceiver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configtls"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/zastava-otel/zastava/internal/testdocker"
)

// authority is a certificate authority with its files in a directory.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of a test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert, a.key = template, nil
	a.file, _ = a.issue("ca", template)
	return a
}

// issue signs a certificate and gives its file and its key's. The first is the authority's own.
func (a *authority) issue(name string, template *x509.Certificate) (cert, key string) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	signer := a.key
	if signer == nil {
		signer = private
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, signer)
	require.NoError(a.t, err)
	if a.key == nil {
		a.key = private
		a.cert, err = x509.ParseCertificate(der)
		require.NoError(a.t, err)
	}
	raw, err := x509.MarshalECPrivateKey(private)
	require.NoError(a.t, err)
	cert, key = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+"-key.pem")
	require.NoError(a.t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(a.t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}), 0o600))
	return cert, key
}

func (a *authority) leaf(name string, usage x509.ExtKeyUsage) (cert, key string) {
	a.t.Helper()
	return a.issue(name, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	})
}

// TestDockerOverTLS observes a dockerd that listens on TCP and asks for certificates (--tlsverify).
func TestDockerOverTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	serverCert, serverKey := ours.leaf("server", x509.ExtKeyUsageServerAuth)
	clientCert, clientKey := ours.leaf("client", x509.ExtKeyUsageClientAuth)
	strangerCert, strangerKey := theirs.leaf("stranger", x509.ExtKeyUsageClientAuth)
	d := testdocker.ForTest(t, testdocker.Options{TLS: testdocker.TLS{CA: ours.file, Cert: serverCert, Key: serverKey}})
	endpoint := "tcp://" + d.Address()
	with := func(ca, cert, key string) *configtls.ClientConfig {
		return &configtls.ClientConfig{Config: configtls.Config{CAFile: ca, CertFile: cert, KeyFile: key}}
	}
	elsewhere := with(ours.file, clientCert, clientKey)
	elsewhere.ServerName = "engine.example.test"
	cases := []struct {
		name  string
		tls   *configtls.ClientConfig
		fails []string // with all of these in the message
		warns bool
	}{
		{"the right certificates", with(ours.file, clientCert, clientKey), nil, false},
		{"another authority", with(theirs.file, clientCert, clientKey), []string{"certificate signed by unknown authority", "check tls: the certificate authority"}, false},
		{"no client certificate", with(ours.file, "", ""), []string{"tls: ", "check tls: the certificate authority, the client certificate"}, false},
		{"a client certificate of another authority", with(ours.file, strangerCert, strangerKey), []string{"tls: ", "check tls"}, false},
		{"another server name", elsewhere, []string{"engine.example.test", "server_name_override"}, false},
		{"no TLS", nil, []string{"the engine expects TLS: add a tls block"}, true},
		{"a file that is not there", with(filepath.Join(t.TempDir(), "none.pem"), "", ""), []string{`runtime "remote": tls:`, "none.pem"}, false},
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
