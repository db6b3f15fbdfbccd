// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/zastava-otel/zastava/internal/backend"
	"github.com/zastava-otel/zastava/internal/backend/backendtest"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

// runAsMain makes this test binary be the real program, so that it can be killed.
const runAsMain = "ZASTAVA_TEST_RUN_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runAsMain) != "" {
		main()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// process is the program, running.
type process struct {
	cmd *exec.Cmd
	url string
	log <-chan string // what it logged, once it has ended
}

var servingAt = regexp.MustCompile(`msg=Serving url=(https?://\S+/)`)

func start(t *testing.T, args ...string) *process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"--listen", "127.0.0.1:0"}, args...)...)
	cmd.Env = append(os.Environ(), runAsMain+"=1")
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	url, log := make(chan string, 1), make(chan string, 1)
	go func() {
		defer close(url)
		var all bytes.Buffer
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			all.WriteString(lines.Text() + "\n")
			if m := servingAt.FindStringSubmatch(lines.Text()); m != nil {
				url <- m[1]
			}
		}
		log <- all.String()
	}()
	p := &process{cmd: cmd, log: log}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	select {
	case p.url = <-url:
		if p.url == "" {
			t.Fatalf("it did not serve: %s", <-log)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it does not serve")
	}
	return p
}

func (p *process) post(t *testing.T, events ...backendapi.Event) int {
	t.Helper()
	raw, err := json.Marshal(backendtest.Batch(events...))
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url+backendapi.EventsPath[1:], bytes.NewReader(raw))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(backendapi.HeaderTenant, backendtest.Tenant)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer http.DefaultClient.CloseIdleConnections()
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	require.NoError(t, err)
	return res.StatusCode
}

// events returns the ids of all events, page by page.
func (p *process) events(t *testing.T) []string {
	t.Helper()
	defer http.DefaultClient.CloseIdleConnections()
	var ids []string
	for cursor := ""; ; {
		res, err := http.Get(p.url + backendapi.EventsPath[1:] + "?limit=1000&revisions=all&cursor=" + url.QueryEscape(cursor))
		require.NoError(t, err)
		var page backend.EventPage
		require.NoError(t, json.NewDecoder(res.Body).Decode(&page))
		require.NoError(t, res.Body.Close())
		for i := range page.Events {
			ids = append(ids, page.Events[i].EventID)
		}
		if cursor = page.NextCursor; cursor == "" {
			return ids
		}
	}
}

func TestProcessExitsCleanlyOnSignal(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows sends no SIGTERM")
	}
	db := filepath.Join(t.TempDir(), "x.db")
	p := start(t, "--db", db)
	require.Equal(t, http.StatusAccepted, p.post(t, backendtest.NewLife(0).Started(1)))
	// An open stream must not hold it up.
	res, err := http.Get(p.url + backendapi.EventsPath[1:] + "/stream")
	require.NoError(t, err)
	defer http.DefaultClient.CloseIdleConnections()
	defer res.Body.Close()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	log := <-p.log
	require.NoError(t, p.cmd.Wait(), log)
	assert.NotContains(t, log, "cut off")
	assert.NoFileExists(t, db+"-wal", "the log was folded into the database")
}

func TestServeFailsInOneSentenceWhenPortIsInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "--listen", l.Addr().String(), "--db", filepath.Join(t.TempDir(), "x.db"))
	cmd.Env = append(os.Environ(), runAsMain+"=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 1, exit.ExitCode())
	if runtime.GOOS != "windows" {
		assert.Equal(t, "zastava-backend: another process already listens on "+l.Addr().String()+
			"; stop it, or choose another address with --listen\n", string(out))
	}
}

func TestTLSRequiresClientCertificate(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	pair := selfSigned(t, cert, key)
	cfg, err := parse([]string{
		"--listen", "127.0.0.1:0", "--db", filepath.Join(dir, "x.db"), "--tls-cert", cert, "--tls-key", key, "--client-ca", cert,
	}, noEnv, io.Discard)
	require.NoError(t, err)
	pipe, out := io.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, cfg, slog.New(slog.NewTextHandler(out, nil)))
		_ = out.Close()
	}()
	lines := bufio.NewScanner(pipe)
	require.True(t, lines.Scan())
	m := servingAt.FindStringSubmatch(lines.Text())
	require.NotNil(t, m, lines.Text())
	drained := make(chan struct{})
	go func() { defer close(drained); _, _ = io.Copy(io.Discard, pipe) }()

	get := func(certs ...tls.Certificate) error {
		pool := x509.NewCertPool()
		pool.AddCert(pair.Leaf)
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
		defer tr.CloseIdleConnections()
		res, err := (&http.Client{Transport: tr}).Get(m[1] + "healthz")
		if err != nil {
			return err
		}
		assert.Equal(t, "HTTP/2.0", res.Proto)
		return errors.Join(res.Body.Close())
	}
	require.NoError(t, get(pair))
	require.Error(t, get(), "no certificate shown; how a client words the refusal varies")
	stop()
	require.NoError(t, <-ended)
	<-drained
}

func TestTLSErrorsNameTheFile(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	selfSigned(t, cert, key)
	for _, tc := range []struct {
		cfg  config
		want string
	}{
		{config{tlsCert: key, tlsKey: key}, "--tls-cert " + key},
		{config{tlsCert: cert, tlsKey: key, clientCA: filepath.Join(dir, "none")}, "--client-ca"},
		{config{tlsCert: cert, tlsKey: key, clientCA: key}, "holds no certificate"},
	} {
		_, err := loadTLS(&tc.cfg)
		require.ErrorContains(t, err, tc.want)
	}
}

// selfSigned writes a certificate of 127.0.0.1 that serves as its own CA.
func selfSigned(t *testing.T, certFile, keyFile string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
	require.NoError(t, os.WriteFile(certFile, certPEM, 0o600))
	require.NoError(t, os.WriteFile(keyFile, keyPEM, 0o600))
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	require.NoError(t, err)
	return pair
}
