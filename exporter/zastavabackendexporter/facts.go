// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configcompression"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/quarantine"
	"github.com/zastava-otel/zastava/internal/record"
)

// factsGzipLevel is what the API suggests.
const factsGzipLevel = 6

// maxFactsBytes is the most that one request holds, uncompressed.
const maxFactsBytes = backendapi.MaxFactsBytes

// withFacts gives facts their own road beside that of events: their own queue and retries, so that events never wait for
// them. What the queue of facts has no room for is refused, never waited for.
type withFacts struct {
	exporter.Logs // events
	facts         exporter.Logs
}

func newWithFacts(ctx context.Context, set exporter.Settings, cfg *Config, e *backendExporter, events exporter.Logs) (exporter.Logs, error) {
	if cfg.CallgraphID == "" {
		set.Logger.Info("Runtime facts are off: samples of processes are not sent; set callgraph_id to send them")
		return events, nil
	}
	f, err := newFactsRoad(cfg, e)
	if err != nil {
		return nil, err
	}
	queue := cfg.QueueConfig
	if queue.HasValue() {
		q := *queue.Get()
		q.BlockOnOverflow = false
		queue = configoptional.Some(q)
	}
	own := set
	own.ID = component.NewIDWithName(set.ID.Type(), set.ID.Name()+"-facts") // for the queue's storage and metrics
	facts, err := exporterhelper.NewLogs(ctx, own, cfg, f.push,
		exporterhelper.WithCapabilities(consumer.Capabilities{MutatesData: false}),
		exporterhelper.WithTimeout(exporterhelper.TimeoutConfig{Timeout: 0}),
		exporterhelper.WithRetry(cfg.RetryConfig),
		exporterhelper.WithQueue(queue),
	)
	if err != nil {
		return nil, fmt.Errorf("set up the delivery of facts: %w", err)
	}
	return &withFacts{Logs: events, facts: facts}, nil
}

// Start starts events first: they make the HTTP client.
func (w *withFacts) Start(ctx context.Context, host component.Host) error {
	if err := w.Logs.Start(ctx, host); err != nil {
		return err
	}
	return w.facts.Start(ctx, host)
}

// Shutdown ends events last, for the same reason.
func (w *withFacts) Shutdown(ctx context.Context) error {
	return errors.Join(w.facts.Shutdown(ctx), w.Logs.Shutdown(ctx))
}

// ConsumeLogs takes events first. Where only facts are refused, the error asks for them alone.
func (w *withFacts) ConsumeLogs(ctx context.Context, logs plog.Logs) error {
	samples, total := 0, logs.LogRecordCount()
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, lr := range sl.LogRecords().All() {
				if record.IsSampled(lr) {
					samples++
				}
			}
		}
	}
	switch samples {
	case 0:
		return w.Logs.ConsumeLogs(ctx, logs)
	case total:
		return w.facts.ConsumeLogs(ctx, logs)
	}
	events, facts := plog.NewLogs(), plog.NewLogs()
	logs.CopyTo(events)
	logs.CopyTo(facts)
	keep(events, func(lr plog.LogRecord) bool { return !record.IsSampled(lr) })
	keep(facts, record.IsSampled)
	if err := w.Logs.ConsumeLogs(ctx, events); err != nil {
		return err // all of it comes again; what was taken has its id
	}
	if err := w.facts.ConsumeLogs(ctx, facts); err != nil {
		return consumererror.NewLogs(err, facts)
	}
	return nil
}

// keep removes the records that are not wanted, and what is empty then.
func keep(logs plog.Logs, wanted func(plog.LogRecord) bool) {
	logs.ResourceLogs().RemoveIf(func(rl plog.ResourceLogs) bool {
		rl.ScopeLogs().RemoveIf(func(sl plog.ScopeLogs) bool {
			sl.LogRecords().RemoveIf(func(lr plog.LogRecord) bool { return !wanted(lr) })
			return sl.LogRecords().Len() == 0
		})
		return rl.ScopeLogs().Len() == 0
	})
}

// factsRoad sends facts.
type factsRoad struct {
	*backendExporter
	target   *url.URL
	graph    graphTemplate
	confined *confinement // nil: there is no quarantine
}

func newFactsRoad(cfg *Config, e *backendExporter) (*factsRoad, error) {
	graph, err := parseGraph(cfg.CallgraphID)
	if err != nil {
		return nil, err
	}
	target, err := cfg.factsURL()
	if err != nil {
		return nil, err
	}
	f := &factsRoad{backendExporter: e, target: target, graph: graph}
	if q := cfg.Quarantine; q.Directory != "" {
		q.Directory += "/facts"
		f.confined = newConfinement(q, e.logger)
	}
	return f, nil
}

// factGroup is the facts of one subject and call graph.
type factGroup struct {
	subject   backendapi.Subject
	graph     string
	lines     [][]byte
	resources []int // of the logs that were pushed
}

// push sends the facts of logs, subject by subject. Errors: consumererror.Logs with the records of the subjects that are to be
// sent again.
func (f *factsRoad) push(ctx context.Context, logs plog.Logs) error {
	if err := f.backlog.eventsFirst(); err != nil {
		return consumererror.NewLogs(err, logs)
	}
	groups := f.group(logs)
	for i, g := range groups {
		if err := f.deliver(ctx, g); err != nil {
			rest := map[int]bool{}
			for _, g := range groups[i:] {
				for _, r := range g.resources {
					rest[r] = true
				}
			}
			again := plog.NewLogs()
			for r, rl := range logs.ResourceLogs().All() {
				if rest[r] {
					rl.CopyTo(again.ResourceLogs().AppendEmpty())
				}
			}
			return consumererror.NewLogs(err, again)
		}
	}
	return nil
}

// group reads the facts, by subject and call graph in the order in which these occur; the lines of each are sorted, so that the
// same facts make the same requests.
func (f *factsRoad) group(logs plog.Logs) []*factGroup {
	type groupKey struct{ subject, graph string }
	byKey := map[groupKey]*factGroup{}
	var groups []*factGroup
	var origin record.Origin
	var nameless, invalid, passed int
	for r, rl := range logs.ResourceLogs().All() {
		origin.Read(&f.decoder, rl.Resource())
		subject := origin.Subject()
		graph, ok := f.graph.expand(&subject, origin.Workload())
		if subject.Key() == "" || !ok {
			nameless++
			continue
		}
		k := groupKey{subject.Key(), graph}
		g := byKey[k]
		if g == nil {
			g = &factGroup{subject: subject, graph: graph}
			byKey[k] = g
			groups = append(groups, g)
		}
		g.resources = append(g.resources, r)
		for _, sl := range rl.ScopeLogs().All() {
			for _, lr := range sl.LogRecords().All() {
				n, err := origin.Facts(lr, func(fact *backendapi.Fact) {
					g.lines = append(g.lines, append(fact.AppendCanonical(nil), '\n'))
				})
				passed += n
				if err != nil {
					invalid++
				}
			}
		}
	}
	if nameless+invalid+passed > 0 {
		f.logger.Warn("Samples cannot become facts; dropped", zap.Int("resources_without_image_or_callgraph", nameless),
			zap.Int("records_not_readable", invalid), zap.Int("files_without_name", passed))
	}
	for _, g := range groups {
		slices.SortFunc(g.lines, bytes.Compare)
	}
	return groups
}

// deliver sends a group in chunks. Facts that are refused for good are put into quarantine.
func (f *factsRoad) deliver(ctx context.Context, g *factGroup) error {
	todo := chunks(nil, g.lines, maxFactsBytes)
	for len(todo) > 0 {
		lines := todo[0]
		a := f.post(ctx, g, lines)
		switch a.verdict {
		case stored:
			todo = todo[1:]
		case invalid, tooLarge:
			if len(lines) > 1 {
				half := len(lines) / 2
				todo = append([][][]byte{lines[:half], lines[half:]}, todo[1:]...)
				continue
			}
			f.refuse(g, lines, a)
			todo = todo[1:]
		case refused:
			f.refuse(g, lines, a)
			todo = todo[1:]
		default:
			return f.comeBack(a)
		}
	}
	return nil
}

// chunks cuts lines so that no chunk is larger than most, unless it is a single line.
func chunks(dst [][][]byte, lines [][]byte, most int) [][][]byte {
	from, size := 0, 0
	for i, line := range lines {
		if i > from && size+len(line) > most {
			dst = append(dst, lines[from:i])
			from, size = i, 0
		}
		size += len(line)
	}
	if from < len(lines) {
		dst = append(dst, lines[from:])
	}
	return dst
}

func (f *factsRoad) post(ctx context.Context, g *factGroup, lines [][]byte) answer {
	body := bytes.Join(lines, nil)
	id := backendapi.FactsID(g.graph, g.subject.Key(), body)
	target := *f.target
	query := url.Values{"callgraphId": {g.graph}}
	for name, value := range map[string]string{"imageDigest": g.subject.ImageDigest, "component": g.subject.Component, "version": g.subject.Version} {
		if value != "" {
			query.Set(name, value)
		}
	}
	target.RawQuery = query.Encode()
	shown := display(f.target)
	header := f.header.Clone()
	header.Set("Content-Type", backendapi.NDJSONContentType)
	header.Set(backendapi.HeaderIdempotencyKey, id)
	if f.config.ClientConfig.Compression == configcompression.TypeGzip {
		packed, err := packFacts(body)
		if err != nil {
			return answer{verdict: refused, reason: "the facts cannot be packed", err: err}
		}
		body = packed
		header.Set("Content-Encoding", "gzip") // the client packs nothing that says it is packed
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return answer{verdict: refused, reason: "the request cannot be made", err: fmt.Errorf("make the request to %s: %w", shown, withoutURL(err))}
	}
	req.Header = header
	resp, err := f.client.Do(req)
	if err != nil {
		return answer{verdict: later, err: fmt.Errorf("POST %s: %w", shown, withoutURL(err))}
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswerBytes)
	_ = resp.Body.Close()
	a := answer{verdict: verdictOf(resp.StatusCode), status: resp.StatusCode}
	if a.verdict == stored {
		return a
	}
	a.explain(shown, resp, text, f.now())
	return a
}

func packFacts(body []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, factsGzipLevel)
	if err != nil {
		return nil, fmt.Errorf("pack facts: %w", err)
	}
	if _, err := w.Write(body); err != nil {
		return nil, fmt.Errorf("pack facts: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack facts: %w", err)
	}
	return out.Bytes(), nil
}

// factsSchema names what a quarantined fact follows.
const factsSchema = "zastava.runtime.fact@v1.0"

// refuse puts facts into quarantine that no retry can deliver.
func (f *factsRoad) refuse(g *factGroup, lines [][]byte, a answer) {
	lost := len(lines)
	if f.confined != nil {
		entries := make([]quarantine.Entry, len(lines))
		for i, line := range lines {
			entries[i] = quarantine.Entry{Time: f.now(), Reason: a.reason, Status: a.status, Envelope: f.envelope(g, line)}
		}
		res, _ := f.confined.add(entries) // the error was logged
		lost = len(res.Lost)
	}
	f.logger.Error("The backend refuses facts for good", zap.Int("facts", len(lines)), zap.Int("lost", lost), zap.Error(a.err))
}

// envelope is a fact with its subject and call graph, as the quarantine keeps it.
func (f *factsRoad) envelope(g *factGroup, line []byte) []byte {
	out := fmt.Appendf(nil, `{"event":{"callgraphId":%s,"eventId":%s,"fact":`, quoted(g.graph), quoted(backendapi.FactsID(g.graph, g.subject.Key(), line)))
	out = append(out, bytes.TrimSpace(line)...)
	return fmt.Appendf(out, `,"subjectKey":%s},"schemaVersion":%s}`, quoted(g.subject.Key()), quoted(factsSchema))
}
