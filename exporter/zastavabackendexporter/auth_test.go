// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/bearertokenauthextension"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configauth"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/extension/extensiontest"
)

// No restart is needed.
func TestRequestsCarryTheNewTokenWhenItsFileIsReplaced(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("first-token"), 0o600))
	f := bearertokenauthextension.NewFactory()
	auth := f.CreateDefaultConfig().(*bearertokenauthextension.Config)
	auth.Filename = file
	ext, err := f.Create(t.Context(), extensiontest.NewNopSettings(f.Type()), auth)
	require.NoError(t, err)
	require.NoError(t, ext.Start(context.Background(), componenttest.NewNopHost()))
	defer func() { require.NoError(t, ext.Shutdown(context.Background())) }()

	var mu sync.Mutex
	good := "Bearer first-token"
	s := newServer(t, func(w http.ResponseWriter, r *request) {
		mu.Lock()
		defer mu.Unlock()
		if r.header.Get("Authorization") != good {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		accept(w, r)
	})
	id := component.MustNewID("bearertokenauth")
	cfg := createDefaultConfig().(*Config)
	cfg.ClientConfig.Endpoint, cfg.Tenant = s.URL, "acme"
	cfg.ClientConfig.Auth = configoptional.Some(configauth.Config{AuthenticatorID: id})
	cfg.QueueConfig = configoptional.None[exporterhelper.QueueBatchConfig]()
	cfg.RetryConfig.InitialInterval, cfg.RetryConfig.MaxInterval = 5*time.Millisecond, 20*time.Millisecond
	exp, err := NewFactory().CreateLogs(t.Context(), exportertest.NewNopSettings(NewFactory().Type()), cfg)
	require.NoError(t, err)
	require.NoError(t, exp.Start(context.Background(), extensions{componenttest.NewNopHost(), map[component.ID]component.Component{id: ext}}))
	defer func() { require.NoError(t, exp.Shutdown(context.Background())) }()

	require.NoError(t, exp.ConsumeLogs(t.Context(), stops(1)))
	mu.Lock()
	good = "Bearer second-token"
	mu.Unlock()
	require.NoError(t, os.WriteFile(file, []byte("second-token"), 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(t, exp.ConsumeLogs(ctx, stops(2)), "refused until the new token is read, then accepted")
}

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(raw)
	require.NoError(t, err)
	a := &authority{cert: cert, key: key, pool: x509.NewCertPool()}
	a.pool.AddCert(cert)
	return a
}

// issue replaces the client's certificate and key in dir.
func (a *authority) issue(t *testing.T, dir, name string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	raw, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, a.cert, &key.PublicKey, a.key)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600))
}

// Connections that are opened after the replacement present the new certificate.
func TestConnectionsUseTheNewClientCertificateWhenItsFileIsReplaced(t *testing.T) {
	dir, ca := t.TempDir(), newAuthority(t)
	ca.issue(t, dir, "first", 2)
	var mu sync.Mutex
	var names []string
	s := unstarted(t, accept)
	s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool, VerifyConnection: func(state tls.ConnectionState) error {
		mu.Lock()
		defer mu.Unlock()
		names = append(names, state.PeerCertificates[0].Subject.CommonName)
		return nil
	}}
	s.StartTLS()
	serverCA := filepath.Join(dir, "server.pem")
	require.NoError(t, os.WriteFile(serverCA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600))

	e := newRig(t, s.URL, func(cfg *Config) {
		cfg.ClientConfig.TLS.CAFile = serverCA
		cfg.ClientConfig.TLS.CertFile, cfg.ClientConfig.TLS.KeyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		cfg.ClientConfig.TLS.ReloadInterval = time.Millisecond
	})
	require.NoError(t, e.push(stops(1)))
	ca.issue(t, dir, "second", 3)
	s.CloseClientConnections()
	require.Eventually(t, func() bool {
		s.CloseClientConnections()
		_ = e.push(stops(1)) // a connection that was just closed is an error that is retried
		mu.Lock()
		defer mu.Unlock()
		return names[len(names)-1] == "second"
	}, 20*time.Second, 10*time.Millisecond)
	assert.Equal(t, "first", names[0])
}
