// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"bytes"
	"crypto/tls"
	"io"
	"log"
	"math/bits"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"pgregory.net/rapid"

	"github.com/zastava-otel/zastava/internal/test/proxy"
)

// An answer that dawdles ends with the timeout, whichever part of it does.
func TestSlowAnswersAreRetried(t *testing.T) {
	for _, tt := range []struct {
		desc  string
		reply reply
	}{
		{"no answer", func(w http.ResponseWriter, r *request) { <-r.done }},
		{"a body that drips", func(w http.ResponseWriter, r *request) {
			w.WriteHeader(http.StatusAccepted)
			for {
				select {
				case <-r.done:
					return
				case <-time.After(5 * time.Millisecond):
					_, _ = w.Write([]byte(" "))
					_ = http.NewResponseController(w).Flush()
				}
			}
		}},
		{"an error whose body drips", func(w http.ResponseWriter, r *request) {
			w.WriteHeader(http.StatusInternalServerError)
			_ = http.NewResponseController(w).Flush()
			<-r.done
		}},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			s := newServer(t, tt.reply, accept)
			e := newRig(t, s.URL, func(cfg *Config) { cfg.ClientConfig.Timeout = 100 * time.Millisecond })
			err := e.push(stops(2))
			require.Error(t, err)
			assert.False(t, consumererror.IsPermanent(err))
			assert.Equal(t, stopIDs(2), retried(t, err))
			require.NoError(t, e.push(stops(2)))
			assert.Equal(t, map[string]int64{"accepted": 2}, e.outcomes(t))
		})
	}
}

func TestAnotherProtocolIsNotWaitedFor(t *testing.T) {
	switching := proxy.Switching(t)
	s := newServer(t, func(w http.ResponseWriter, _ *request) { switching(w, nil) })
	e := newRig(t, s.URL)
	err := e.push(stops(2))
	require.ErrorContains(t, err, "answered 101 Switching Protocols")
	assert.Equal(t, stopIDs(2), retried(t, err))
	assert.Equal(t, []componentstatus.Status{componentstatus.StatusRecoverableError}, e.host.Statuses())
}

// A server that takes its connections away within a request's body has the batch sent again, with the same bytes.
func TestConnectionThatBreaksWithinTheRequestIsRetried(t *testing.T) {
	s := newServer(t, func(http.ResponseWriter, *request) { panic(http.ErrAbortHandler) }, accept)
	e := newRig(t, s.URL, func(cfg *Config) { cfg.ClientConfig.Compression = "none" })
	err := e.push(stops(200))
	require.Error(t, err)
	assert.Equal(t, stopIDs(200), retried(t, err))
	require.NoError(t, e.push(stops(200)))
	got := s.got()
	assert.True(t, bytes.Equal(got[0].body, got[len(got)-1].body))
}

// GOAWAY (RFC 9113 section 6.8): what was answered is done, what comes after goes over another connection.
func TestGoAway(t *testing.T) {
	goAway := func(w http.ResponseWriter, r *request) {
		w.Header().Set("Connection", "close") // over HTTP/2 that is GOAWAY
		accept(w, r)
	}
	s := unstarted(t, append(slices.Repeat([]reply{goAway}, 2), func(http.ResponseWriter, *request) { panic(http.ErrAbortHandler) }, accept)...)
	s.EnableHTTP2 = true
	s.StartTLS()
	e := newRig(t, s.URL, func(cfg *Config) { cfg.ClientConfig.TLS.InsecureSkipVerify, cfg.MaxBatchEvents = true, 4 })
	err := e.push(stops(12))
	require.Error(t, err, "RST_STREAM")
	assert.Equal(t, stopIDs(12)[8:], retried(t, err))
	var rest consumererror.Logs
	require.ErrorAs(t, err, &rest)
	require.NoError(t, e.push(rest.Data()))
	assert.Equal(t, map[string]int64{"accepted": 12}, e.outcomes(t))
	for _, r := range s.got() {
		assert.Equal(t, "HTTP/2.0", r.proto)
	}
}

// What an answer says it is does not decide how it is read.
func TestContentTypesThatAreWrong(t *testing.T) {
	for _, tt := range []struct {
		desc     string
		reply    reply
		says     string
		outcomes map[string]int64
	}{
		{"JSON called text", says(202, "text/plain", `{"accepted":1,"duplicates":1}`), "", map[string]int64{"accepted": 1, "duplicate": 1}},
		{"a page called JSON", says(202, "application/json", `<html>`), "not of this API", map[string]int64{}},
		{"a list", says(202, "application/json", `[1,2]`), "not of this API", map[string]int64{}},
		{"a problem called JSON", says(503, "application/json", `{"title":"Busy"}`), "answered 503", map[string]int64{}},
		{"a problem that is none", says(503, "application/problem+json", `{"title":`), "answered 503", map[string]int64{}},
		{"an impossible type", says(503, ";;=", `x`), "answered 503", map[string]int64{}},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			e := newRig(t, newServer(t, tt.reply).URL)
			err := e.push(stops(2))
			if tt.says == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tt.says)
				assert.False(t, consumererror.IsPermanent(err))
			}
			assert.Equal(t, tt.outcomes, e.outcomes(t))
		})
	}
}

// TestFindingBadEventsTakesFewRequests holds the number of requests to 2·bad·log2(n) + batches.
func TestFindingBadEventsTakesFewRequests(t *testing.T) {
	const most = 64
	all := stopIDs(most)
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, most).Draw(rt, "events")
		limit := rapid.IntRange(1, most).Draw(rt, "max_batch_events")
		bad := rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 0, min(n, 5), rapid.ID[int]).Draw(rt, "bad")
		s := newServer(t, func(w http.ResponseWriter, r *request) {
			for _, i := range bad {
				if slices.Contains(r.ids(), all[i]) {
					w.WriteHeader(http.StatusUnprocessableEntity)
					return
				}
			}
			accept(w, r)
		})
		defer s.Close()
		e := newRig(t, s.URL, func(cfg *Config) { cfg.MaxBatchEvents = limit })
		_ = e.push(stops(n))
		batches := (n + limit - 1) / limit
		log2 := bits.Len(uint(min(n, limit) - 1)) // rounded up
		require.LessOrEqual(rt, len(s.got()), 2*len(bad)*log2+batches)
		require.Equal(rt, int64(n), e.outcomes(t)["accepted"]+e.outcomes(t)["refused"])
	})
}

// FuzzAnswer reads whatever a server may answer.
func FuzzAnswer(f *testing.F) {
	f.Add(202, "application/json", "", []byte(`{"accepted":1,"duplicates":0,"rejected":[{"eventId":"e","code":"c","detail":"d"}]}`))
	f.Add(422, "application/problem+json", "", []byte(`{"type":"about:blank","title":"t","status":422,"detail":"d","errors":[{"field":"f","detail":"d"}]}`))
	f.Add(429, "text/html", "Wed, 21 Oct 2026 07:28:00 GMT", []byte("<h1>later</h1>"))
	f.Add(503, "application/problem+json; charset=\xff", "99999999999999999999", []byte(`{"title":{"a":[]}}`))
	f.Add(409, "", "-1", []byte(nil))
	f.Fuzz(func(t *testing.T, code int, contentType, retryAfter string, body []byte) {
		e := &eventSender{connection: &connection{now: time.Now}, shownURL: "http://backend"}
		p := payload{items: []item{{eventID: "e"}, {eventID: "f"}, {eventID: "e", revision: 1}}}
		n := len(p.items)
		a := e.read(&http.Response{
			StatusCode: code, Header: http.Header{"Content-Type": {contentType}, "Retry-After": {retryAfter}}, Body: io.NopCloser(bytes.NewReader(body)),
		}, n)
		require.Equal(t, a.verdict == stored, a.err == nil)
		if a.verdict == stored {
			out, known := p.rejected(span{0, n}, a)
			require.LessOrEqual(t, len(out), n)
			require.True(t, known || len(out) == 0)
			_, known = p.rejected(span{0, 1}, a)
			require.True(t, known, "of one there is no doubt")
		} else {
			require.Less(t, len(a.err.Error()), 8*maxQuotedBytes)
			require.Less(t, len(a.reason), 4*maxQuotedBytes)
		}
		require.True(t, a.duplicates >= 0 && a.duplicates <= n)
		require.True(t, a.retryAfter >= 0 && a.retryAfter <= maxRetryAfter)
	})
}

// TLS that cannot be agreed on is retried like a missing connection, and said.
func TestTLSErrorsAreRetried(t *testing.T) {
	for _, tt := range []struct {
		desc   string
		change func(*Config)
		says   string
	}{
		{"a certificate that nobody vouches for", func(*Config) {}, "certificate"},
		{"a version that the server does not have", func(cfg *Config) {
			cfg.ClientConfig.TLS.InsecureSkipVerify, cfg.ClientConfig.TLS.MaxVersion, cfg.ClientConfig.TLS.MinVersion = true, "1.2", "1.2"
		}, "protocol version"},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			s := unstarted(t, accept)
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
			s.StartTLS()
			e := newRig(t, s.URL, tt.change)
			err := e.push(stops(2))
			require.ErrorContains(t, err, tt.says)
			assert.False(t, consumererror.IsPermanent(err))
			assert.Equal(t, stopIDs(2), retried(t, err))
		})
	}
}
