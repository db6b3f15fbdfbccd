// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/backend"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

// peer has the options of the subcommands that send requests to a backend.
type peer struct {
	target, eventsPath        string
	tenant, tenantHeader      string
	tokenFile, caFile         string
	clientCert, clientCertKey string
	maxBytes                  int
	timeout                   time.Duration
}

func (p *peer) flags(f *flag.FlagSet) {
	f.StringVar(&p.target, "target", "", "the backend's base `URL`; required")
	f.StringVar(&p.eventsPath, "events-path", backendapi.EventsPath, "`path` that is added to the target")
	f.StringVar(&p.tenantHeader, "tenant-header", backendapi.HeaderTenant, "`name` of the tenant header")
	f.StringVar(&p.tokenFile, "token-file", "", "`file` with the bearer token; the first one is used")
	f.StringVar(&p.caFile, "ca-file", "", "CA certificates `file` (PEM) to trust instead of the system's")
	f.StringVar(&p.clientCert, "client-cert", "", "certificate `file` (PEM) to present, together with --client-key")
	f.StringVar(&p.clientCertKey, "client-key", "", "private key `file` (PEM)")
	f.IntVar(&p.maxBytes, "max-batch-bytes", backendapi.MaxBatchBytes, "most bytes of uncompressed JSON in a batch")
	f.DurationVar(&p.timeout, "timeout", 30*time.Second, "time limit of a request, including its answer")
}

func (p *peer) check() []error {
	var faults []error
	if !isBaseURL(p.target) {
		faults = append(faults, errors.New("--target is not a base URL: write it as https://host:port, without query")) // not quoted: it may hold a password
	}
	if !strings.HasPrefix(p.eventsPath, "/") || strings.ContainsAny(p.eventsPath, "?#") {
		faults = append(faults, fmt.Errorf("--events-path %q: must begin with / and have no query", p.eventsPath))
	}
	if !backendapi.ValidTenant(p.tenant) {
		faults = append(faults, fmt.Errorf("--tenant %q: set the tenant of the events, at most %d printable ASCII characters", p.tenant, backendapi.MaxTenant))
	}
	if (p.clientCert == "") != (p.clientCertKey == "") {
		faults = append(faults, errors.New("--client-cert and --client-key go together: set both or none"))
	}
	if p.maxBytes < 4<<10 || p.maxBytes > 1<<30 {
		faults = append(faults, fmt.Errorf("--max-batch-bytes %d: must be from 4 KiB to 1 GiB", p.maxBytes))
	}
	if p.timeout <= 0 {
		faults = append(faults, fmt.Errorf("--timeout %s: must be more than 0", p.timeout))
	}
	return faults
}

func isBaseURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.RawQuery == "" && u.Fragment == ""
}

// base returns the target, which was checked before.
func (p *peer) base() (*url.URL, error) {
	u, err := url.Parse(p.target)
	if err != nil {
		return nil, errors.New("--target is not a URL") // the error would quote it
	}
	return u, nil
}

// token returns the bearer token; empty if there is no file.
func (p *peer) token() (string, error) {
	if p.tokenFile == "" {
		return "", nil
	}
	tokens, err := backend.ReadTokens(p.tokenFile)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	return tokens[0].Value, nil
}

// client returns the client of the backend. The caller closes its idle connections.
func (p *peer) client() (*http.Client, error) {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if p.caFile != "" {
		pem, err := os.ReadFile(p.caFile) //nolint:gosec // the user of the program names the file
		if err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca-file %s: holds no certificate in PEM", p.caFile)
		}
	}
	if p.clientCert != "" {
		pair, err := tls.LoadX509KeyPair(p.clientCert, p.clientCertKey)
		if err != nil {
			return nil, fmt.Errorf("load --client-cert %s with --client-key %s: %w", p.clientCert, p.clientCertKey, err)
		}
		transport.TLSClientConfig.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{
		Transport: transport, Timeout: p.timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}
