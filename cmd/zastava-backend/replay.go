// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/quarantine/replay"
)

const (
	replayAttempts  = 5 // in some 8 s; a person waits for the result
	replayFirstWait = 500 * time.Millisecond
)

type replayConfig struct {
	peer
	factsTarget, factsPath string

	maxEvents int
	paths     []string
}

// parseReplay parses the command line after "replay". After --help, which it writes to out, it returns flag.ErrHelp.
func parseReplay(args []string, out io.Writer) (*replayConfig, error) {
	c := &replayConfig{}
	f := flag.NewFlagSet("zastava-backend replay", flag.ContinueOnError)
	f.SetOutput(out)
	c.flags(f)
	f.StringVar(&c.tenant, "tenant", "", "`name` of the tenant whose events and facts these are; required")
	f.IntVar(&c.maxEvents, "max-batch-events", backendapi.MaxEventsPerBatch, "most events, or facts, in a batch")
	f.StringVar(&c.factsTarget, "facts-target", "", "base `URL` for facts, if it is not --target")
	f.StringVar(&c.factsPath, "facts-path", backendapi.FactsNDJSONPath, "`path` that is added to the target of facts")
	f.Usage = func() {
		fmt.Fprint(out, "zastava-backend replay [flags] DIR|FILE...\n\nSends the events and facts of a quarantine again. Those that the backend accepts are removed from "+
			"the files;\nthe others stay. Exits with 1 when some stay.\n\n")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	c.paths = f.Args()
	faults := c.check()
	if c.factsTarget != "" && !isBaseURL(c.factsTarget) {
		faults = append(faults, errors.New("--facts-target is not a base URL: write it as https://host:port, without query")) // not quoted: it may hold a password
	}
	if !strings.HasPrefix(c.factsPath, "/") || strings.ContainsAny(c.factsPath, "?#") {
		faults = append(faults, fmt.Errorf("--facts-path %q: must begin with / and have no query", c.factsPath))
	}
	if c.maxEvents < 1 {
		faults = append(faults, fmt.Errorf("--max-batch-events %d: must be at least 1", c.maxEvents))
	}
	if len(c.paths) == 0 {
		faults = append(faults, errors.New("nothing to replay: name the directory of a quarantine, or files of it"))
	}
	return c, errors.Join(faults...)
}

// sender returns the sender of the batches. The caller closes the idle connections of its client.
func (c *replayConfig) sender() (*replay.Sender, error) {
	u, err := c.base()
	if err != nil {
		return nil, err
	}
	facts := u
	if c.factsTarget != "" {
		if facts, err = url.Parse(c.factsTarget); err != nil {
			return nil, errors.New("--facts-target is not a URL") // the error would quote it
		}
	}
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	header := http.Header{"User-Agent": {"zastava-backend-replay"}}
	header.Set(c.tenantHeader, c.tenant)
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	return &replay.Sender{
		Client: client, Header: header,
		Events:    targetAt(u.JoinPath(c.eventsPath), "--target and --events-path"),
		Facts:     targetAt(facts.JoinPath(c.factsPath), "--facts-target, or --target, and --facts-path"),
		MaxEvents: c.maxEvents, MaxBytes: c.maxBytes, Attempts: replayAttempts, FirstWait: replayFirstWait,
	}, nil
}

func targetAt(u *url.URL, flags string) replay.Target {
	return replay.Target{URL: u.String(), Shown: (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String(), Flags: flags}
}

// errRemaining makes the program exit with a failure although the replay could run.
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
