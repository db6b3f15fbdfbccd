// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configcompression"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/exporter/zastavabackendexporter/internal/metadata"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/record"
)

type backendExporter struct {
	config    *Config
	settings  component.TelemetrySettings
	logger    *zap.Logger
	telemetry *metadata.TelemetryBuilder
	decoder   record.Decoder
	core      bool // event_kinds: core
	url       string
	shownURL  string // without what must not be shown
	header    http.Header
	limit     byteLimit
	health    *health
	payloads  sync.Pool    // of *payload
	confined  *confinement // nil: there is no quarantine
	backlog   *backlog
	shed      *shedding
	now       func() time.Time

	client *http.Client // from start on
}

func newExporter(set exporter.Settings, cfg *Config) (*backendExporter, error) {
	if cfg.Tenant == "" { // never without: not even where Validate was not called
		return nil, errors.New("tenant is empty: no event may leave without one")
	}
	target, err := cfg.eventsURL()
	if err != nil {
		return nil, err
	}
	telemetry, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("set up the exporter's own metrics: %w", err)
	}
	header := http.Header{}
	header.Set("Content-Type", contentTypeJSON)
	header.Set("User-Agent", fmt.Sprintf("%s/%s (%s/%s)", set.BuildInfo.Command, set.BuildInfo.Version, runtime.GOOS, runtime.GOARCH))
	header.Set(cfg.TenantHeader, cfg.Tenant)
	return &backendExporter{
		config:    cfg,
		settings:  set.TelemetrySettings,
		logger:    set.Logger,
		telemetry: telemetry,
		decoder:   record.Decoder{Tenant: cfg.Tenant, Project: cfg.Project, Node: cfg.Node, Annotations: cfg.Annotations},
		core:      cfg.EventKinds == eventKindsCore,
		url:       target.String(),
		shownURL:  display(target),
		header:    header,
		limit:     byteLimit{configured: cfg.MaxBatchBytes, now: time.Now},
		health:    &health{logger: set.Logger},
		confined:  newConfinement(cfg.Quarantine, set.Logger),
		backlog:   &backlog{now: time.Now},
		shed:      newShedding(),
		now:       time.Now,
	}, nil
}

// defaultGzipLevel is used where the configuration names none. On batches of 256 events it takes half the time of gzip's own
// default, 6, for a tenth more bytes (BenchmarkExport), and a node's CPU is dearer than that. It is not in the default
// configuration because there it would be invalid for compressions that have no levels.
const defaultGzipLevel = 3

// start makes the HTTP client; only now are the extensions there that authenticate it.
func (e *backendExporter) start(ctx context.Context, host component.Host) error {
	clientConfig := e.config.ClientConfig
	if clientConfig.Compression == configcompression.TypeGzip && clientConfig.CompressionParams.Level == 0 {
		clientConfig.CompressionParams.Level = defaultGzipLevel
	}
	client, err := clientConfig.ToClient(ctx, host.GetExtensions(), e.settings)
	if err != nil {
		return fmt.Errorf("make the HTTP client for %s: %w", e.shownURL, err)
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	e.client = client
	if watched, ok := host.(watchedHost); ok {
		host = watched.Host // which may take statuses
	}
	e.health.start(host)
	return e.observeBacklog()
}

func (e *backendExporter) shutdown(context.Context) error {
	if e.client != nil {
		e.client.CloseIdleConnections()
	}
	e.telemetry.Shutdown()
	return nil
}

// maxPooledBytes keeps one huge push from holding memory for good.
const maxPooledBytes = 8 << 20

// payload gives the events of logs, to be put back.
func (e *backendExporter) payload(logs plog.Logs) *payload {
	p, ok := e.payloads.Get().(*payload)
	if !ok {
		p = new(payload)
	}
	e.convert(p, logs)
	return p
}

func (e *backendExporter) putBack(p *payload) {
	if cap(p.json) <= maxPooledBytes {
		e.payloads.Put(p)
	}
}

// pushLogs delivers the events in logs. Events that no retry can deliver are in quarantine when it returns, if there is one.
// Errors: consumererror.Logs with what is to be sent again; permanent where refused events were lost and nothing is left to
// send.
func (e *backendExporter) pushLogs(ctx context.Context, logs plog.Logs) error {
	p := e.payload(logs)
	defer e.putBack(p)
	e.countConverted(ctx, p) // not part of the rest of a partial success, so counted once

	done, refused, err := e.deliver(ctx, p)
	refusals := e.settle(ctx, p, refused)
	switch {
	case err != nil:
		if len(refusals) > 0 { // this error cannot carry both
			e.logger.Error("The backend refuses events for good; dropped", zap.Errors("refused", refusals))
		}
		return consumererror.NewLogs(err, remaining(logs, p.items[done:]))
	case len(refusals) > 0:
		return consumererror.NewPermanent(errors.Join(refusals...))
	}
	return nil
}

// deliver sends the items of p in order. It stops at the first answer that asks to come back later and tells how many
// items were dealt with before: stored, or refused for good.
func (e *backendExporter) deliver(ctx context.Context, p *payload) (done int, refusals []refusal, err error) {
	// todo is what is left, in order and without a hole. Whatever is split goes back in front, so that order is kept and
	// what is done is a single number.
	todo := p.cut(nil, span{0, len(p.items)}, e.config.MaxBatchEvents, e.limit.get())
	var asked map[span]bool // halves of a batch that was stored before
	for len(todo) > 0 {
		s := todo[0]
		single := s.to-s.from == 1
		a := e.send(ctx, p, s)
		switch {
		case a.status == http.StatusConflict && !single && !asked[s]:
			// It was stored before and its answer never came. What that rejected, the answers to its halves tell: they are
			// batches of other ids. Once only: two more requests at most.
			middle := s.from + (s.to-s.from)/2
			halves := []span{{s.from, middle}, {middle, s.to}}
			if asked == nil {
				asked = map[span]bool{}
			}
			asked[halves[0]], asked[halves[1]] = true, true
			todo = append(halves, todo[1:]...)
		case a.verdict == stored:
			rejected, known := p.rejected(s, a)
			if !known { // the halves tell which: what is stored counts as known there
				middle := s.from + (s.to-s.from)/2
				todo = append([]span{{s.from, middle}, {middle, s.to}}, todo[1:]...)
				continue
			}
			e.stored(ctx, s.to-s.from-len(rejected), a.duplicates)
			refusals = append(refusals, rejected...)
			todo = todo[1:]
		case a.verdict == tooLarge && !single:
			most := e.limit.tooLarge(p.size(s))
			var smaller []span
			for _, s := range todo {
				smaller = p.cut(smaller, s, e.config.MaxBatchEvents, most)
			}
			todo = smaller
		case a.verdict == invalid && !single:
			middle := s.from + (s.to-s.from)/2
			todo = append([]span{{s.from, middle}, {middle, s.to}}, todo[1:]...)
		case a.verdict == tooLarge, a.verdict == invalid, a.verdict == refused:
			refusals = append(refusals, refusal{span: s, status: a.status, reason: a.reason, err: a.err})
			todo = todo[1:]
		default:
			return s.from, refusals, e.comeBack(forEvents, a, "events_path")
		}
	}
	return len(p.items), refusals, nil
}

// send posts one batch.
func (e *backendExporter) send(ctx context.Context, p *payload, s span) answer {
	id, body := p.body(s)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return answer{verdict: refused, reason: "the request cannot be made", err: fmt.Errorf("make the request to %s: %w", e.shownURL, withoutURL(err))}
	}
	req.Header = e.header.Clone()
	req.Header.Set(backendapi.HeaderIdempotencyKey, id)
	e.telemetry.ExporterZastavabackendBatchSize.Record(ctx, int64(len(body)))
	resp, err := e.client.Do(req)
	if err != nil {
		return answer{verdict: later, err: fmt.Errorf("POST %s: %w", e.shownURL, withoutURL(err))}
	}
	return e.read(resp, s.to-s.from)
}

// withoutURL takes the URL out of an HTTP client's error: it may hold credentials, and ours is told already.
func withoutURL(err error) error {
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		return urlErr.Err
	}
	return err
}

// Causes of an ill health that no status of HTTP tells.
const (
	noTrust  = -1
	noAnswer = -2
)

// distrusted tells of an end that does not take the other's certificate, or speaks no TLS. No retry mends it, a person does.
func distrusted(err error) bool {
	if _, refused := errors.AsType[*tls.CertificateVerificationError](err); refused || errors.Is(err, http.ErrSchemeMismatch) {
		return true
	}
	alert, ok := errors.AsType[*net.OpError](err)
	return ok && alert.Op == "remote error" // crypto/tls says so of what the server sent in place of an answer
}

// comeBack makes the error that has the rest sent again, and reports what the user has to mend: path is the option that tells
// where the requests go.
func (e *backendExporter) comeBack(of roadName, a answer, path string) error {
	switch {
	case a.verdict == denied:
		e.health.ill(of, a.status, "check the exporter's auth, headers and tenant", a.err)
	case a.status == http.StatusUnsupportedMediaType:
		e.health.ill(of, a.status, "check the exporter's compression", a.err)
	case a.verdict == misplaced:
		e.health.ill(of, a.status, "check the exporter's endpoint and "+path, a.err)
	case distrusted(a.err):
		e.health.ill(of, noTrust, "check the certificates of both ends and the exporter's tls", a.err)
	default:
		e.health.failing(of, cmp.Or(a.status, noAnswer), "see whether the backend is up, and can be reached from here", a.err)
	}
	if a.retryAfter > 0 {
		return newLater(a.err, a.retryAfter)
	}
	return a.err
}
