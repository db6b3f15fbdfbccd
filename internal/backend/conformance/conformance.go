// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package conformance checks whether a server implements the backend API (docs/api/openapi.yaml) and reports the result of each
// check. A server that conforms passes, whatever other data it holds: apart from the tenant, every container, event, batch and
// subject of a run has an id of its own. A check that cannot be tried is skipped with the reason. The events and facts stay on the
// server, as ended and removed containers; the API cannot delete them.
//
// It uses only the document and the wire types of the API, nothing of the reference backend.
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

// Level is the level of a requirement as in RFC 2119.
type Level string

// The levels.
const (
	Must   Level = "MUST"   // without it the exporter loses or repeats events, or blocks
	Should Level = "SHOULD" // without it faults are harder to find or to correct
	May    Level = "MAY"    // optional; a server that has it follows the document
)

// Verdict is the result of a check.
type Verdict string

// The verdicts.
const (
	Pass    Verdict = "pass"
	Fail    Verdict = "fail"
	Warn    Verdict = "warn"    // a SHOULD that is not met
	Absent  Verdict = "absent"  // a MAY that the server does not have
	Skipped Verdict = "skipped" // the check could not be tried
)

// Options are the server and the checks to run. Client and Target are required.
type Options struct {
	Client       *http.Client  // must not follow redirects; its timeout bounds a request
	Target       *url.URL      // base URL
	Tenant       string        // default DefaultTenant
	TenantHeader string        // default backendapi.HeaderTenant
	Token        string        // bearer token; without one the checks of missing and wrong tokens are skipped
	EventsPath   string        // default backendapi.EventsPath
	CoreKinds    bool          // the server accepts CONTAINER_START and CONTAINER_STOP only
	MaxBytes     int           // the server's limit of a batch in bytes, 4 KiB to 64 MiB; default backendapi.MaxBatchBytes
	Wait         time.Duration // for a message of a stream; default 10 s
	Only         []string      // names of the checks to run; all if empty
}

// DefaultTenant is the tenant of the events and facts that are sent.
const DefaultTenant = "zastava-conformance"

// Result is the result of one check.
type Result struct {
	Check       string  `json:"check"`
	Level       Level   `json:"level"`
	Requirement string  `json:"requirement"`
	Verdict     Verdict `json:"result"`
	Detail      string  `json:"detail,omitempty"`
}

// Report is the result of all checks.
type Report struct {
	Target  string    `json:"target"` // without user and query, which may be secret
	Tenant  string    `json:"tenant"`
	Run     string    `json:"run"` // part of all names that were sent
	Began   time.Time `json:"began"`
	Results []Result  `json:"results"`
	Left    Left      `json:"left"`
}

// Left is the most that the server holds now and did not hold before.
type Left struct {
	Containers int `json:"containers"`
	Events     int `json:"events"`
	Facts      int `json:"facts"`
}

// Conforms reports whether no check failed.
func (r *Report) Conforms() bool {
	for i := range r.Results {
		if r.Results[i].Verdict == Fail {
			return false
		}
	}
	return true
}

// check is one requirement and the function that tries it. run returns details; its error is the reason why the server does not
// pass.
type check struct {
	name, requirement string
	level             Level
	run               func(context.Context, *session) (string, error)
}

var errAbsent = errors.New("not served")

// skipError is the reason why a check could not be tried.
type skipError string

func (e skipError) Error() string { return string(e) }

// session is one run of all checks.
type session struct {
	o     Options
	run   string
	began time.Time

	lives, sent, facts atomic.Int64
	busy               atomic.Int64 // answers 429 and 503
	noWait             atomic.Int64 // of these, without a valid Retry-After
}

// Run runs the checks. An error means that the server could not be reached at all, or that Only names an unknown check.
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

// choose returns the checks with these names, in the order of all checks.
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
