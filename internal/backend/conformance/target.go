// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

const (
	maxAnswer   = 4 << 20 // bytes of an answer that are read
	maxShown    = 200     // characters of an answer in a detail
	maxAttempts = 6       // at a busy server
	maxWait     = 10 * time.Second
)

// answer is an answer of the server.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// String returns the answer in one line that is safe for a terminal.
func (a *answer) String() string {
	text := string(a.body)
	if p, ok := backendapi.ParseProblem(a.header.Get("Content-Type"), a.body); ok {
		text = p.String()
	}
	return strings.TrimSpace("answered " + strconv.Itoa(a.status) + " " + shown(text))
}

// shown returns foreign text short and without characters that are not printable.
func shown(text string) string {
	text = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(text, "?"))
	text = strings.TrimSpace(text)
	if runes := []rune(text); len(runes) > maxShown {
		text = string(runes[:maxShown]) + "…"
	}
	return text
}

// notServed reports whether the server has no such endpoint.
func (a *answer) notServed() bool {
	return a.status == http.StatusNotFound || a.status == http.StatusMethodNotAllowed || a.status == http.StatusNotImplemented
}

// request returns a request with the headers that all requests have. header overrides them; an empty value removes one.
func (s *session) request(ctx context.Context, method, path string, body []byte, header map[string]string) (*http.Request, error) {
	u := *s.o.Target
	path, u.RawQuery, _ = strings.Cut(path, "?")
	unescaped, err := url.PathUnescape(path)
	if err != nil {
		return nil, fmt.Errorf("request %s: %w", path, err)
	}
	u.RawPath = strings.TrimSuffix(u.EscapedPath(), "/") + path
	u.Path = strings.TrimSuffix(u.Path, "/") + unescaped
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the target is not a URL that can be requested") // the error would quote it
	}
	req.Header.Set("User-Agent", "zastava-backend-conformance")
	req.Header.Set(s.o.TenantHeader, s.o.Tenant)
	if s.o.Token != "" {
		req.Header.Set("Authorization", "Bearer "+s.o.Token)
	}
	for name, value := range header {
		if value == "" {
			req.Header.Del(name)
		} else {
			req.Header.Set(name, value)
		}
	}
	return req, nil
}

// do makes a request, and repeats it while the server reports that it is busy.
func (s *session) do(ctx context.Context, method, path string, body []byte, header map[string]string) (*answer, error) {
	for attempt := 1; ; attempt++ {
		a, err := s.once(ctx, method, path, body, header)
		if err != nil || (a.status != http.StatusTooManyRequests && a.status != http.StatusServiceUnavailable) {
			return a, err
		}
		s.busy.Add(1)
		wait, ok := retryAfter(a.header.Get("Retry-After"), time.Now())
		if !ok {
			s.noWait.Add(1)
		}
		if attempt == maxAttempts {
			return a, nil
		}
		select {
		case <-time.After(min(max(wait, 100*time.Millisecond), maxWait)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *session) once(ctx context.Context, method, path string, body []byte, header map[string]string) (*answer, error) {
	req, err := s.request(ctx, method, path, body, header)
	if err != nil {
		return nil, err
	}
	resp, err := s.o.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, withoutAddress(err))
	}
	defer resp.Body.Close()
	raw, err := backendapi.ReadAnswer(resp, maxAnswer)
	if err != nil {
		return nil, fmt.Errorf("%s %s: read the answer %d: %w", method, path, resp.StatusCode, err)
	}
	return &answer{resp.StatusCode, resp.Header, raw}, nil
}

// retryAfter parses the header: seconds, or a date (RFC 9110 section 10.2.3). It returns false for an absent or invalid one.
func retryAfter(value string, now time.Time) (time.Duration, bool) {
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now), 0), true
	}
	return 0, false
}

// postRaw posts a body as a batch.
func (s *session) postRaw(ctx context.Context, body []byte, header map[string]string) (*answer, error) {
	all := map[string]string{"Content-Type": "application/json"}
	maps.Copy(all, header)
	return s.do(ctx, http.MethodPost, s.o.EventsPath, body, all)
}

// post posts a batch as the exporter does.
func (s *session) post(ctx context.Context, b *backendapi.Batch) (*answer, error) {
	s.sent.Add(int64(len(b.Events)))
	return s.postRaw(ctx, zipped(b.AppendCanonical(nil)), map[string]string{
		"Content-Encoding": "gzip", backendapi.HeaderIdempotencyKey: b.BatchID,
	})
}

// store posts events, which the server must store.
func (s *session) store(ctx context.Context, events ...backendapi.Event) error {
	a, err := s.post(ctx, batch(events...))
	if err != nil {
		return err
	}
	in, err := ingested(a, len(events))
	if err != nil {
		return err
	}
	if len(in.Rejected) > 0 {
		return fmt.Errorf("a good event was rejected: %s", a)
	}
	return nil
}

func zipped(raw []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, _ = w.Write(raw) // a write to memory does not fail
	_ = w.Close()
	return buf.Bytes()
}

// ingested decodes a 202 for a batch of n events.
func ingested(a *answer, n int) (*backendapi.IngestResponse, error) {
	if a.status != http.StatusAccepted {
		return nil, fmt.Errorf("want 202, but it %s", a)
	}
	var in backendapi.IngestResponse
	if err := json.Unmarshal(a.body, &in); err != nil {
		return nil, fmt.Errorf("the body of 202 is not that of the API: it %s", a)
	}
	if in.Accepted < 0 || in.Duplicates < 0 || in.Accepted+in.Duplicates+len(in.Rejected) != n {
		return nil, fmt.Errorf("accepted, duplicates and rejected must add up to %d: it %s", n, a)
	}
	return &in, nil
}
