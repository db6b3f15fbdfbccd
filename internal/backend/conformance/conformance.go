// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package conformance runs the backend API (docs/api/openapi.yaml) against any server of it and tells what it found, check by
// check. It promises to say of a server that conforms that it does, whatever else that server holds: tenant apart, every
// container, event, batch and subject that it makes has an id of its own. It refuses to guess: what it cannot try is skipped
// with the reason. What it sends stays on the server, as ended and removed containers; the API has no way to take it back.
//
// It knows the API only by its document and the wire types, and nothing of how the reference backend does it.
package conformance

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// Level says how much hangs on a check, in the words of RFC 2119.
type Level string

// The levels.
const (
	Must   Level = "MUST"   // without it the exporter loses, blocks on or repeats events
	Should Level = "SHOULD" // without it faults are harder to find or to mend
	May    Level = "MAY"    // need not be served; served, it is as the document says
)

// Verdict is what a check found.
type Verdict string

// The verdicts.
const (
	Pass    Verdict = "pass"
	Fail    Verdict = "fail"
	Warn    Verdict = "warn"    // a SHOULD that is not so
	Absent  Verdict = "absent"  // a MAY that is not served
	Skipped Verdict = "skipped" // could not be tried
)

// Options says what to check.
type Options struct {
	Client       *http.Client  // must not follow redirects; its timeout bounds a request
	Target       *url.URL      // base URL
	Tenant       string        // default DefaultTenant
	TenantHeader string        // default backendapi.HeaderTenant
	Token        string        // bearer token; "" = none, and what a wrong one is answered with is not tried
	EventsPath   string        // default backendapi.EventsPath
	CoreKinds    bool          // the server takes CONTAINER_START and CONTAINER_STOP only
	MaxBytes     int           // most bytes of a batch that the server takes, 4 KiB to 64 MiB; default backendapi.MaxBatchBytes
	Wait         time.Duration // for something to come on a stream; default 10 s
	Only         []string      // names of the checks to run; none = all
}

// DefaultTenant is the tenant of what is sent.
const DefaultTenant = "zastava-conformance"

// Result is what one check found.
type Result struct {
	Check       string  `json:"check"`
	Level       Level   `json:"level"`
	Requirement string  `json:"requirement"`
	Verdict     Verdict `json:"result"`
	Detail      string  `json:"detail,omitempty"`
}

// Report is what all checks found.
type Report struct {
	Target  string    `json:"target"` // without what may be secret in it
	Tenant  string    `json:"tenant"`
	Run     string    `json:"run"` // occurs in all names that were made
	Began   time.Time `json:"began"`
	Results []Result  `json:"results"`
	Left    Left      `json:"left"`
}

// Left is what the server holds now that it did not before, at most.
type Left struct {
	Containers int `json:"containers"`
	Events     int `json:"events"`
	Facts      int `json:"facts"`
}

// Conforms tells whether no check failed.
func (r *Report) Conforms() bool {
	for i := range r.Results {
		if r.Results[i].Verdict == Fail {
			return false
		}
	}
	return true
}

// check is one thing that is tried. run gives what it saw; its error is why the check is not passed.
type check struct {
	name, requirement string
	level             Level
	run               func(context.Context, *session) (string, error)
}

var errAbsent = errors.New("not served")

// skipError says why a check could not be tried.
type skipError string

func (e skipError) Error() string { return string(e) }

// session is one run of all checks.
type session struct {
	o     Options
	run   string
	began time.Time

	lives, sent, facts atomic.Int64
	busy               atomic.Int64 // answers 429 and 503
	noWait             atomic.Int64 // of these, without a Retry-After that can be used
}

// Run runs all checks. An error says that the server could not be asked at all.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Tenant == "" {
		o.Tenant = DefaultTenant
	}
	if o.TenantHeader == "" {
		o.TenantHeader = backendapi.HeaderTenant
	}
	if o.EventsPath == "" {
		o.EventsPath = backendapi.EventsPath
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = backendapi.MaxBatchBytes
	}
	if o.Wait == 0 {
		o.Wait = 10 * time.Second
	}
	checks, err := choose(o.Only)
	if err != nil {
		return nil, err
	}
	s := &session{o: o, run: randomHex(4), began: time.Now().UTC().Truncate(time.Microsecond)}
	if _, err := s.do(ctx, http.MethodGet, o.EventsPath, nil, nil); err != nil {
		return nil, err
	}
	shownTarget := url.URL{Scheme: o.Target.Scheme, Host: o.Target.Host, Path: o.Target.Path}
	report := &Report{Target: shownTarget.String(), Tenant: o.Tenant, Run: s.run, Began: s.began}
	for i := range checks {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("check %s: %w", checks[i].name, err)
		}
		report.Results = append(report.Results, s.try(ctx, &checks[i]))
	}
	report.Left = Left{Containers: int(s.lives.Load()), Events: int(s.sent.Load()), Facts: int(s.facts.Load())}
	return report, nil
}

// choose gives the checks of these names, in their own order.
func choose(names []string) ([]check, error) {
	all := slices.Concat(ingestChecks(), refusalChecks(), queryChecks(), streamChecks(), factsChecks(), operationChecks())
	if len(names) == 0 {
		return all, nil
	}
	var known []string
	for i := range all {
		known = append(known, all[i].name)
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("there is no check %q; there are %s", name, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(all, func(c check) bool { return !slices.Contains(names, c.name) }), nil
}

func (s *session) try(ctx context.Context, c *check) Result {
	detail, err := c.run(ctx, s)
	r := Result{Check: c.name, Level: c.level, Requirement: c.requirement, Verdict: Pass, Detail: detail}
	if err == nil {
		return r
	}
	r.Verdict, r.Detail = Fail, err.Error()
	if c.level == Should {
		r.Verdict = Warn
	}
	if errors.Is(err, errAbsent) {
		r.Verdict = Absent
	}
	if _, skipped := errors.AsType[skipError](err); skipped {
		r.Verdict = Skipped
	}
	return r
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
