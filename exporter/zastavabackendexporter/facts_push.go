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

	"github.com/zastava-otel/zastava/exporter/zastavabackendexporter/internal/delivery"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/credentials"
	"github.com/zastava-otel/zastava/internal/quarantine"
)

// factsGzipLevel is what the API suggests.
const factsGzipLevel = 6

// maxFactsBytes is the most bytes in one request, uncompressed.
const maxFactsBytes = backendapi.MaxFactsBytes

// factSender sends facts. It is the destination of their lane.
type factSender struct {
	*connection

	target     *url.URL // without the query
	graph      graphTemplate
	quarantine *quarantineWriter // nil if none is configured
}

var _ delivery.Destination = (*factSender)(nil)

func newFactSender(c *connection) (*factSender, error) {
	graph, err := parseGraph(c.config.CallgraphID)
	if err != nil {
		return nil, err
	}
	target, err := c.config.factsURL()
	if err != nil {
		return nil, err
	}
	q := c.config.Quarantine
	if q.Directory != "" {
		q.Directory = filepath.Join(q.Directory, quarantine.FactsDirectory)
	}
	return &factSender{connection: c, target: target, graph: graph, quarantine: newQuarantineWriter(q, c.logger)}, nil
}

// Push sends the facts of logs, subject by subject. Errors: consumererror.Logs with the records of the subjects that are to be
// pushed again. The facts of a subject are counted, and put into quarantine, once all of them are settled: until then a retry
// sends all of them again, and the backend recognizes those that it has.
func (f *factSender) Push(ctx context.Context, logs plog.Logs) error {
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

// refusedFacts are facts that no retry can deliver.
type refusedFacts struct {
	lines  [][]byte
	answer answer
}

// deliver sends a group in chunks and returns what was refused permanently.
func (f *factSender) deliver(ctx context.Context, g *factGroup) (refusals []refusedFacts, err error) {
	todo := chunks(nil, g.lines, maxFactsBytes)
	for len(todo) > 0 {
		lines := todo[0]
		a := f.send(ctx, g, lines)
		switch a.verdict {
		case stored:
			f.health.reportOK(laneFacts)
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
			return nil, f.retryable(laneFacts, a, "facts_path")
		}
	}
	return refusals, nil
}

// chunks splits lines so that no chunk is larger than most, unless it is a single line.
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

func (f *factSender) send(ctx context.Context, g *factGroup, lines [][]byte) answer {
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
	shown := credentials.Show(f.target)
	header := f.header.Clone()
	header.Set("Content-Type", backendapi.NDJSONContentType)
	header.Set(backendapi.HeaderIdempotencyKey, id)
	if f.config.ClientConfig.Compression == configcompression.TypeGzip {
		compressed, err := gzipFacts(body)
		if err != nil {
			return answer{verdict: refused, reason: "the facts cannot be compressed", err: err}
		}
		body = compressed
		header.Set("Content-Encoding", "gzip") // the client does not compress a body that has this header
	}
	resp, failed := f.post(ctx, target.String(), shown, header, body)
	if resp == nil {
		return failed
	}
	return f.read(resp, shown)
}

// read returns the answer in resp. It closes the body.
func (f *factSender) read(resp *http.Response, shown string) answer {
	text, readErr := backendapi.ReadAnswer(resp, maxAnswerBytes)
	_ = resp.Body.Close()
	a := answer{verdict: verdictOf(resp.StatusCode), status: resp.StatusCode}
	if !isOfAPI(a.verdict, resp, text, namesFacts) {
		a.verdict = misplaced
	}
	switch text = bytes.TrimSpace(text); {
	case a.verdict != stored:
	case resp.StatusCode == http.StatusConflict: // stored before, whatever the body says
		return a
	case readErr != nil:
		return f.truncated(shown, resp, readErr)
	case len(text) > 0 && text[0] != '{':
		return f.foreign(shown, resp, text)
	default:
		return a
	}
	f.explain(&a, shown, resp, text)
	return a
}

func gzipFacts(body []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, factsGzipLevel)
	if err != nil {
		return nil, fmt.Errorf("compress facts: %w", err)
	}
	if _, err := w.Write(body); err != nil {
		return nil, fmt.Errorf("compress facts: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compress facts: %w", err)
	}
	return out.Bytes(), nil
}
