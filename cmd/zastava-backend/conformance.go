// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/zastava-otel/zastava/internal/backend/conformance"
)

type conformanceConfig struct {
	peer
	eventKinds string
	only       string
	json       bool
}

// parseConformance parses the command line after "conformance". After --help, which it writes to out, it returns flag.ErrHelp.
func parseConformance(args []string, out io.Writer) (*conformanceConfig, error) {
	c := &conformanceConfig{}
	f := flag.NewFlagSet("zastava-backend conformance", flag.ContinueOnError)
	f.SetOutput(out)
	c.flags(f)
	f.StringVar(&c.tenant, "tenant", conformance.DefaultTenant, "`name` of the tenant of the events and facts that are sent")
	f.StringVar(&c.eventKinds, "event-kinds", "all", "`kinds` that the backend accepts: all, or core for CONTAINER_START and CONTAINER_STOP only")
	f.StringVar(&c.only, "only", "", "`names` of the checks to run, with commas between them; all by default")
	f.BoolVar(&c.json, "json", false, "write JSON instead of a table")
	f.Usage = func() {
		fmt.Fprint(out, "zastava-backend conformance --target URL [flags]\n\nChecks whether a backend implements the API as docs/api/openapi.yaml defines it. It sends events and\n"+
			"facts, which stay on the backend: use a tenant of its own. Exits with 1 when a check fails.\n\n")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	faults := c.check()
	if f.NArg() > 0 {
		faults = append(faults, fmt.Errorf("%q is not a flag; all options begin with --", f.Arg(0)))
	}
	if c.eventKinds != "all" && c.eventKinds != "core" {
		faults = append(faults, fmt.Errorf("--event-kinds %q: use all or core", c.eventKinds))
	}
	return c, errors.Join(faults...)
}

// errDoesNotConform makes the program exit with a failure although the checks could run.
var errDoesNotConform = errors.New("the backend does not conform")

// runConformance runs the checks and writes the report to out.
func runConformance(ctx context.Context, c *conformanceConfig, out io.Writer) error {
	base, err := c.base()
	if err != nil {
		return err
	}
	token, err := c.token()
	if err != nil {
		return err
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	o := conformance.Options{
		Client: client, Target: base, Tenant: c.tenant, TenantHeader: c.tenantHeader, Token: token, EventsPath: c.eventsPath,
		CoreKinds: c.eventKinds == "core", MaxBytes: c.maxBytes,
	}
	if c.only != "" {
		o.Only = strings.Split(c.only, ",")
	}
	report, err := conformance.Run(ctx, o)
	if err != nil {
		return err
	}
	write := report.WriteTable
	if c.json {
		write = report.WriteJSON
	}
	if err := write(out); err != nil {
		return err
	}
	if !report.Conforms() {
		return errDoesNotConform
	}
	return nil
}
