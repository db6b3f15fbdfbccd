// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/backend"
	"github.com/zastava-otel/zastava/internal/backend/store"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

// envPrefix begins the names of the environment variables that set flags: ZASTAVA_BACKEND_MAX_BATCH_EVENTS sets
// --max-batch-events. A flag of the command line overrides its variable.
const envPrefix = "ZASTAVA_BACKEND_"

type config struct {
	listen                    string
	whenFull                  string
	tlsCert, tlsKey, clientCA string
	backend                   backend.Options
}

// parse parses the command line and the environment. After --help, which it writes to out, it returns flag.ErrHelp.
func parse(args []string, getenv func(string) string, out io.Writer) (*config, error) {
	c := &config{}
	f := flag.NewFlagSet("zastava-backend", flag.ContinueOnError)
	f.SetOutput(out)
	f.StringVar(&c.listen, "listen", "127.0.0.1:8686", "`address` to serve on")
	f.StringVar(&c.backend.DB, "db", "zastava-backend.db", "database `file`; created if it does not exist")
	f.StringVar(&c.tlsCert, "tls-cert", "", "certificate `file` (PEM); serves HTTPS, together with --tls-key")
	f.StringVar(&c.tlsKey, "tls-key", "", "private key `file` (PEM)")
	f.StringVar(&c.clientCA, "client-ca", "", "CA certificates `file` (PEM); clients must present a certificate that one of them signed")
	f.StringVar(&c.backend.TokenFile, "token-file", "", "`file` of bearer tokens, one a line, each with the tenants it is bound to, if any; requests must have one")
	f.DurationVar(&c.backend.Retention, "retention", 7*24*time.Hour, "how long events are kept after they were received; 0 = without limit")
	f.Float64Var(&c.backend.Rate, "rate", 0, "events a second that are accepted from a tenant; 0 = no limit")
	f.IntVar(&c.backend.MaxBatchEvents, "max-batch-events", backendapi.MaxEventsPerBatch, "most events in a batch")
	f.Int64Var(&c.backend.MaxBatchBytes, "max-batch-bytes", backendapi.MaxBatchBytes, "most bytes of uncompressed JSON in a batch")
	f.Int64Var(&c.backend.MaxSize.Bytes, "max-db-bytes", 0, "most bytes of the database with its log; 0 = without limit")
	f.StringVar(&c.whenFull, "when-full", "oldest-out", "what happens at --max-db-bytes: oldest-out removes what was received first, refuse answers 507")
	f.DurationVar(&c.backend.RequestTimeout, "request-timeout", backend.DefaultRequestTimeout, "most time for the work of a request, without the time of its client")
	f.Usage = func() {
		fmt.Fprintf(out, "zastava-backend stores runtime events of containers and shows what runs where.\n\n"+
			"  zastava-backend [flags]               serves\n"+
			"  zastava-backend replay --help         sends quarantined events again\n"+
			"  zastava-backend conformance --help    checks whether a backend implements this API\n\n"+
			"Each flag can be given as an environment variable too: --max-batch-events as %sMAX_BATCH_EVENTS.\n\n", envPrefix)
		f.PrintDefaults()
	}
	var faults []error
	f.VisitAll(func(fl *flag.Flag) {
		name := envPrefix + strings.ToUpper(strings.ReplaceAll(fl.Name, "-", "_"))
		if v := getenv(name); v != "" {
			if err := f.Set(fl.Name, v); err != nil {
				faults = append(faults, fmt.Errorf("%s=%q: %w", name, v, err))
			}
		}
	})
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		faults = append(faults, fmt.Errorf("%q is not a flag; all options begin with --", f.Arg(0)))
	}
	faults = append(faults, c.check()...)
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	host, _, _ := net.SplitHostPort(c.listen) // checked before
	ip := net.ParseIP(host)
	c.backend.LocalHostOnly = c.backend.TokenFile == "" && (host == "localhost" || (ip != nil && ip.IsLoopback()))
	return c, nil
}

func (c *config) check() []error {
	var faults []error
	if (c.tlsCert == "") != (c.tlsKey == "") {
		faults = append(faults, errors.New("--tls-cert and --tls-key go together: set both or none"))
	}
	if c.clientCA != "" && c.tlsCert == "" {
		faults = append(faults, errors.New("--client-ca needs --tls-cert and --tls-key: client certificates need TLS"))
	}
	if _, _, err := net.SplitHostPort(c.listen); err != nil {
		faults = append(faults, fmt.Errorf("--listen %q: %w; use host:port, for example 127.0.0.1:8686", c.listen, err))
	}
	if c.backend.Retention < 0 {
		faults = append(faults, fmt.Errorf("--retention %s: must not be negative; 0 keeps events without limit", c.backend.Retention))
	}
	if !(c.backend.Rate >= 0) { // not a number is refused too
		faults = append(faults, fmt.Errorf("--rate %g: must not be negative; 0 means no limit", c.backend.Rate))
	}
	if c.backend.MaxBatchEvents < 1 {
		faults = append(faults, fmt.Errorf("--max-batch-events %d: must be at least 1", c.backend.MaxBatchEvents))
	}
	if n := c.backend.MaxBatchBytes; n < 4<<10 || n > 1<<30 {
		faults = append(faults, fmt.Errorf("--max-batch-bytes %d: must be from 4 KiB to 1 GiB", n))
	}
	faults = append(faults, c.checkSize()...)
	if t := c.backend.RequestTimeout; t < 100*time.Millisecond || t > 10*time.Minute {
		faults = append(faults, fmt.Errorf("--request-timeout %s: must be from 100ms to 10m", t))
	}
	if c.backend.TokenFile != "" {
		if _, err := backend.ReadTokens(c.backend.TokenFile); err != nil {
			faults = append(faults, fmt.Errorf("--token-file: %w", err))
		}
	}
	return faults
}

// checkSize checks the options of the database's size. A cap must hold some of the largest batches.
func (c *config) checkSize() []error {
	var faults []error
	if n, least := c.backend.MaxSize.Bytes, max(store.MinCap, 64*c.backend.MaxBatchBytes); n != 0 && n < least {
		faults = append(faults, fmt.Errorf("--max-db-bytes %d: must be at least %d (64 times --max-batch-bytes), or 0 for no limit", n, least))
	}
	if c.whenFull != "oldest-out" && c.whenFull != "refuse" {
		faults = append(faults, fmt.Errorf("--when-full %q: must be oldest-out or refuse", c.whenFull))
	}
	c.backend.MaxSize.Refuse = c.whenFull == "refuse"
	return faults
}
