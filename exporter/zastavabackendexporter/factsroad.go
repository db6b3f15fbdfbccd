// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"

	"go.opentelemetry.io/collector/config/configcompression"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/quarantine"
)

// factsRoad sends facts.
type factsRoad struct {
	*backendExporter

	target   *url.URL
	graph    graphTemplate
	confined *confinement // nil: there is no quarantine
	own      struct {     // what events have as well
		backlog

		shed *shedding
	}
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
	f.own.now, f.own.shed = e.now, newShedding()
	if q := cfg.Quarantine; q.Directory != "" {
		q.Directory = filepath.Join(q.Directory, quarantine.FactsDirectory)
		f.confined = newConfinement(q, e.logger)
	}
	return f, nil
}

// push sends the facts of logs, subject by subject. Errors: consumererror.Logs with the records of the subjects that are to be
// sent again. What becomes of a subject's facts is counted, and put into quarantine, when all of them are dealt with: a part is
// told again with the rest, and counts as known at the backend then.
func (f *factsRoad) push(ctx context.Context, logs plog.Logs) error {
	if err := f.backlog.eventsFirst(); err != nil {
		return consumererror.NewLogs(err, logs)
	}
	groups, skipped := f.group(logs)
	f.countSkipped(ctx, skipped)
	for i, g := range groups {
		refused, err := f.deliver(ctx, g)
		if err == nil {
			f.settle(ctx, g, refused)
			continue
		}
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
	return nil
}

// refusedFacts is facts that no retry can deliver.
type refusedFacts struct {
	lines  [][]byte
	answer answer
}

// deliver sends a group in chunks and gives what was refused for good.
func (f *factsRoad) deliver(ctx context.Context, g *factGroup) (refusals []refusedFacts, err error) {
	todo := chunks(nil, g.lines, maxFactsBytes)
	for len(todo) > 0 {
		lines := todo[0]
		a := f.post(ctx, g, lines)
		switch a.verdict {
		case stored:
			f.health.well(forFacts)
			todo = todo[1:]
		case invalid, tooLarge:
			if len(lines) > 1 {
				half := len(lines) / 2
				todo = append([][][]byte{lines[:half], lines[half:]}, todo[1:]...)
				continue
			}
			refusals = append(refusals, refusedFacts{lines, a})
			todo = todo[1:]
		case refused:
			refusals = append(refusals, refusedFacts{lines, a})
			todo = todo[1:]
		default:
			return nil, f.comeBack(forFacts, a, "facts_path")
		}
	}
	return refusals, nil
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
	text, readErr := backendapi.ReadAnswer(resp, maxAnswerBytes)
	_ = resp.Body.Close()
	a := answer{verdict: verdictOf(resp.StatusCode), status: resp.StatusCode}
	switch text = bytes.TrimSpace(text); {
	case a.verdict != stored:
	case resp.StatusCode == http.StatusConflict: // done, whatever is said besides
		return a
	case readErr != nil:
		return answer{verdict: later, status: resp.StatusCode, err: fmt.Errorf("POST %s: read the answer %s: %w", shown, statusLine(resp), readErr)}
	case len(text) > 0 && text[0] != '{': // a page of something else
		return answer{verdict: misplaced, status: resp.StatusCode, err: fmt.Errorf("POST %s: answered %s with a body that is not of this API%s",
			shown, statusLine(resp), quote(resp.Header.Get("Content-Type"), text))}
	default:
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
