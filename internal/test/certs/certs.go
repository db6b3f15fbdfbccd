// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package certs makes certificate authorities for tests. Each is new, and trusted only by who reads its file.
//
// Certificates have ECDSA P-256 keys and are valid for both sides of a connection to 127.0.0.1, unless a Fault is requested. Keys are
// written only to the requested directory.
package certs

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
)

// CA signs certificates.
type CA struct {
	tb   testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// New returns an authority whose own certificate is valid for a day.
func New(tb testing.TB) *CA {
	tb.Helper()
	a := &CA{tb: tb}
	a.key, a.cert = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

// WriteTo writes the authority's certificate to a file.
func (a *CA) WriteTo(file string) {
	a.tb.Helper()
	a.write(file, "CERTIFICATE", a.cert.Raw)
}

// Fault is an error in a certificate.
type Fault int

// The faults of a certificate itself. A certificate of another CA is a further one.
const (
	None      Fault = iota
	Expired         // an hour ago
	OtherName       // valid only for another host
)

// Issue writes a certificate and its key to <name>.pem and <name>.key in a directory, and replaces existing files.
func (a *CA) Issue(dir, name string, fault Fault) (certFile, keyFile string) {
	a.tb.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	switch fault {
	case Expired:
		template.NotAfter = time.Now().Add(-time.Hour)
	case OtherName:
		template.IPAddresses, template.DNSNames = nil, []string{"elsewhere.example.test"}
	case None:
	}
	key, cert := a.sign(template)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.tb.Fatalf("encode the key of %s: %v", name, err)
	}
	certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	a.write(certFile, "CERTIFICATE", cert.Raw)
	a.write(keyFile, "PRIVATE KEY", raw)
	return certFile, keyFile
}

// sign makes a key and a certificate, which is signed by the authority, or by itself while the authority is made.
func (a *CA) sign(template *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate) {
	a.tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.tb.Fatalf("make a key: %v", err)
	}
	template.SerialNumber, template.NotBefore = big.NewInt(time.Now().UnixNano()), time.Now().Add(-24*time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(24 * time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.tb.Fatalf("make a certificate: %v", err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		a.tb.Fatalf("read a certificate that was just made: %v", err)
	}
	return key, cert
}

func (a *CA) write(file, kind string, raw []byte) {
	a.tb.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}), 0o600); err != nil {
		a.tb.Fatalf("write a certificate: %v", err)
	}
}
