// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/backend"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/quarantine/replay"
)

const (
	replayAttempts  = 5 // over some 8 s; a person waits
	replayFirstWait = 500 * time.Millisecond
)

type replayConfig struct {
	target, eventsPath   string
	tenant, tenantHeader string
	tokenFile, caFile    string
	maxEvents, maxBytes  int
	timeout              time.Duration
	paths                []string
}

// parseReplay reads the command line that follows "replay". flag.ErrHelp: help was asked for and written to out.
func parseReplay(args []string, out io.Writer) (*replayConfig, error) {
	c := &replayConfig{}
	f := flag.NewFlagSet("zastava-backend replay", flag.ContinueOnError)
	f.SetOutput(out)
	f.StringVar(&c.target, "target", "", "the backend's base `URL`; required")
	f.StringVar(&c.eventsPath, "events-path", backendapi.EventsPath, "`path` that is added to the target")
	f.StringVar(&c.tenant, "tenant", "", "`name` of the tenant whose events these are; required")
	f.StringVar(&c.tenantHeader, "tenant-header", backendapi.HeaderTenant, "`name` of the header that carries the tenant")
	f.StringVar(&c.tokenFile, "token-file", "", "`file` with the bearer token")
	f.StringVar(&c.caFile, "ca-file", "", "CA certificates `file` (PEM) to trust instead of the system's")
	f.IntVar(&c.maxEvents, "max-batch-events", backendapi.MaxEventsPerBatch, "most events in a batch")
	f.IntVar(&c.maxBytes, "max-batch-bytes", backendapi.MaxBatchBytes, "most bytes of uncompressed JSON in a batch")
	f.DurationVar(&c.timeout, "timeout", 30*time.Second, "of a request, with its answer")
	f.Usage = func() {
		fmt.Fprint(out, "zastava-backend replay [flags] DIR|FILE...\n\nSends what the exporter put into quarantine again. What the backend takes leaves the "+
			"files; what it\nrefuses again stays. Exits with 1 when something stays.\n\n")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	c.paths = f.Args()
	return c, errors.Join(c.check()...)
}

func (c *replayConfig) check() []error {
	var faults []error
	if u, err := url.Parse(c.target); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		faults = append(faults, errors.New("--target is not a base URL: write it as https://host:port, without query")) // not quoted: it may hold a password
	}
	if !strings.HasPrefix(c.eventsPath, "/") || strings.ContainsAny(c.eventsPath, "?#") {
		faults = append(faults, fmt.Errorf("--events-path %q: must begin with / and have no query", c.eventsPath))
	}
	if !backendapi.ValidTenant(c.tenant) {
		faults = append(faults, fmt.Errorf("--tenant %q: give the tenant of the events, at most %d printable ASCII characters", c.tenant, backendapi.MaxTenant))
	}
	if c.maxEvents < 1 {
		faults = append(faults, fmt.Errorf("--max-batch-events %d: must be at least 1", c.maxEvents))
	}
	if c.maxBytes < 4<<10 || c.maxBytes > 1<<30 {
		faults = append(faults, fmt.Errorf("--max-batch-bytes %d: must be from 4 KiB to 1 GiB", c.maxBytes))
	}
	if c.timeout <= 0 {
		faults = append(faults, fmt.Errorf("--timeout %s: must be more than 0", c.timeout))
	}
	if len(c.paths) == 0 {
		faults = append(faults, errors.New("nothing to replay: name a quarantine's directory, or files of it"))
	}
	return faults
}

// sender makes what posts the batches. Its client owns connections; close them when done.
func (c *replayConfig) sender() (*replay.Sender, error) {
	u, err := url.Parse(c.target)
	if err != nil {
		return nil, errors.New("--target is not a URL") // the error would quote it
	}
	u = u.JoinPath(c.eventsPath)
	header := http.Header{"User-Agent": {"zastava-backend-replay"}}
	header.Set(c.tenantHeader, c.tenant)
	if c.tokenFile != "" {
		tokens, err := backend.ReadTokens(c.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("--token-file: %w", err)
		}
		header.Set("Authorization", "Bearer "+tokens[0].Value)
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if c.caFile != "" {
		pem, err := os.ReadFile(c.caFile) //nolint:gosec // who starts the program names the file
		if err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca-file %s: holds no certificate in PEM", c.caFile)
		}
	}
	return &replay.Sender{
		Client: &http.Client{
			Transport: transport, Timeout: c.timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		URL: u.String(), Shown: (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String(), Header: header,
		MaxEvents: c.maxEvents, MaxBytes: c.maxBytes, Attempts: replayAttempts, FirstWait: replayFirstWait,
	}, nil
}

// errRemaining ends the program with a failure although everything went as it should.
var errRemaining = errors.New("something remains in quarantine")

// runReplay replays and writes the summary to out.
func runReplay(ctx context.Context, c *replayConfig, log *slog.Logger, out io.Writer) error {
	sender, err := c.sender()
	if err != nil {
		return err
	}
	defer sender.Client.CloseIdleConnections()
	sum, err := replay.Run(ctx, sender, log, c.paths)
	fmt.Fprintln(out, sum)
	if err == nil && sum.Remaining() > 0 {
		err = errRemaining
	}
	return err
}
