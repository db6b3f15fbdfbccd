// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter/exporterhelper"

	"github.com/zastava-otel/zastava/internal/test/oracle"
)

// The table of answers, for one batch of two events.
func TestEachAnswerHasItsVerdict(t *testing.T) {
	problem := `{"type":"about:blank","title":"The batch is not valid","status":422,"errors":[{"field":"events[0].event.kind","detail":"is required"}]}`
	for _, tt := range []struct {
		desc  string
		reply reply

		retries  bool
		waits    time.Duration
		message  string // part of the error
		status   bool   // a recoverable error is reported
		outcomes map[string]int64
	}{
		{desc: "202 with counts", reply: answers(202, "application/json", `{"accepted":1,"duplicates":1}`), outcomes: map[string]int64{"accepted": 1, "duplicate": 1}},
		{desc: "202 without a body", reply: status(202), outcomes: map[string]int64{"accepted": 2}},
		{desc: "202 with members of a later version", reply: answers(202, "application/json", `{"accepted":2,"duplicates":0,"took":"3ms"}`), outcomes: map[string]int64{"accepted": 2}},
		{desc: "202 with impossible counts", reply: answers(202, "application/json", `{"accepted":-7,"duplicates":900}`), outcomes: map[string]int64{"duplicate": 2}},
		{desc: "202 with a rejection", reply: answers(202, "application/json", `{"accepted":1,"duplicates":0,"rejected":[{"eventId":"`+stopIDs(1)[0]+`","code":"id_conflict","detail":"s3cret"}]}`), outcomes: map[string]int64{"accepted": 1, "rejected": 1}},
		{desc: "202 of something else", reply: answers(202, "text/html", "<html>thanks</html>"), retries: true, message: "not of this API", status: true},
		{desc: "200", reply: status(200), retries: true, message: "answered 200 OK", status: true},
		{desc: "204", reply: status(204), retries: true, message: "answered 204 No Content", status: true},
		{desc: "301", reply: status(301, "Location", "/elsewhere"), retries: true, message: "redirects are not followed", status: true},
		{desc: "307", reply: status(307, "Location", "http://127.0.0.1:1/"), retries: true, message: "redirects are not followed", status: true},
		{desc: "401", reply: answers(401, "application/problem+json", `{"title":"Token expired"}`), retries: true, message: "answered 401 Unauthorized: Token expired", status: true},
		{desc: "403", reply: status(403), retries: true, message: "answered 403 Forbidden", status: true},
		{desc: "404", reply: status(404), retries: true, message: "/api/v1/runtime/events: answered 404 Not Found", status: true},
		{desc: "407", reply: status(407), retries: true, message: "answered 407 Proxy Authentication Required", status: true},
		{desc: "410", reply: status(410), retries: true, message: "answered 410 Gone", status: true},
		{desc: "415", reply: status(415), retries: true, message: "answered 415 Unsupported Media Type", status: true},
		{desc: "421", reply: status(421), retries: true, message: "answered 421 Misdirected Request", status: true},
		{desc: "426", reply: status(426), retries: true, message: "answered 426 Upgrade Required", status: true},
		{desc: "405", reply: status(405), retries: true, message: "answered 405", status: true},
		{desc: "501", reply: status(501), retries: true, message: "answered 501", status: true},
		{desc: "408", reply: status(408), retries: true, message: "answered 408"},
		{desc: "425", reply: status(425), retries: true, message: "answered 425"},
		{desc: "429 in seconds", reply: status(429, "Retry-After", "7"), retries: true, waits: 7 * time.Second, message: "answered 429"},
		{desc: "429 without a time", reply: status(429), retries: true, message: "answered 429"},
		{desc: "500", reply: status(500), retries: true, message: "answered 500"},
		{desc: "502 with a page", reply: answers(502, "text/html", "<h1>Bad gateway</h1>"), retries: true, message: `answered 502 Bad Gateway: "<h1>Bad gateway</h1>"`},
		{desc: "503 in seconds", reply: status(503, "Retry-After", "120"), retries: true, waits: 2 * time.Minute, message: "answered 503"},
		{desc: "599", reply: status(599), retries: true, message: "answered 599"},
		{desc: "409", reply: status(409), outcomes: map[string]int64{"duplicate": 2}},
		{desc: "422", reply: answers(422, "application/problem+json", problem), message: "The batch is not valid; events[0].event.kind is required", outcomes: map[string]int64{"refused": 2}},
		{desc: "400 of a server in between", reply: answers(400, "text/plain", strings.Repeat("x", 5000)), retries: true, message: strings.Repeat("x", maxQuotedBytes), status: true},
		{desc: "400 that names an event", reply: answers(400, "application/json", `{"error":"events[0].event.kind is required"}`), message: "answered 400", outcomes: map[string]int64{"refused": 2}},
		{desc: "400 in JSON of a server in between", reply: answers(400, "application/json", `{"error":"bad gateway configuration"}`), retries: true, message: "answered 400", status: true},
		{desc: "400 of a TLS port", reply: answers(400, "", "Client sent an HTTP request to an HTTPS server.\n"), retries: true, message: "HTTPS server", status: true},
		{desc: "422 of a login page", reply: answers(422, "text/html", "<html>"+stopIDs(2)[0]), retries: true, message: "answered 422", status: true},
		{desc: "422 without a body", reply: status(422), retries: true, message: "answered 422", status: true},
		{desc: "413", reply: status(413), message: "answered 413", outcomes: map[string]int64{"refused": 2}},
		{desc: "418", reply: answers(418, "application/problem+json", `{"title":"No"}`), message: "answered 418", outcomes: map[string]int64{"refused": 2}},
		{desc: "406 of a server in between", reply: status(406), retries: true, message: "answered 406", status: true},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			s := newServer(t, tt.reply)
			e := newRig(t, s.URL)
			err := e.push(stops(2))
			switch {
			case tt.retries:
				require.ErrorContains(t, err, tt.message)
				assert.False(t, consumererror.IsPermanent(err))
				assert.Equal(t, stopIDs(2), retried(t, err))
				assert.Len(t, s.got(), 1, "a push is one attempt")
				if tt.outcomes == nil {
					tt.outcomes = map[string]int64{}
				}
			case tt.message != "":
				require.ErrorContains(t, err, tt.message)
				assert.True(t, consumererror.IsPermanent(err))
				assert.Less(t, len(err.Error()), 4*maxQuotedBytes)
			default:
				require.NoError(t, err)
			}
			if tt.waits > 0 {
				require.ErrorContains(t, err, exporterhelper.NewThrottleRetry(errors.New(""), tt.waits).Error()[:len("Throttle (")+len(tt.waits.String())])
			} else if err != nil {
				assert.NotContains(t, err.Error(), "Throttle")
			}
			if tt.status {
				assert.Equal(t, []componentstatus.Status{componentstatus.StatusRecoverableError}, e.host.Statuses())
			} else {
				assert.Empty(t, e.host.Statuses())
			}
			assert.Equal(t, tt.outcomes, e.outcomes(t))
			for _, entry := range e.logs.All() {
				assert.NotContains(t, fmt.Sprint(entry.ContextMap()), "s3cret")
			}
		})
	}
}

// The content type does not decide how an answer is read.
func TestWrongContentTypeDoesNotChangeTheVerdict(t *testing.T) {
	for _, tt := range []struct {
		desc     string
		reply    reply
		message  string
		outcomes map[string]int64
	}{
		{"JSON called text", answers(202, "text/plain", `{"accepted":1,"duplicates":1}`), "", map[string]int64{"accepted": 1, "duplicate": 1}},
		{"a page called JSON", answers(202, "application/json", `<html>`), "not of this API", map[string]int64{}},
		{"a list", answers(202, "application/json", `[1,2]`), "not of this API", map[string]int64{}},
		{"a problem called JSON", answers(503, "application/json", `{"title":"Busy"}`), "answered 503", map[string]int64{}},
		{"a problem that is not JSON", answers(503, "application/problem+json", `{"title":`), "answered 503", map[string]int64{}},
		{"an impossible type", answers(503, ";;=", `x`), "answered 503", map[string]int64{}},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			e := newRig(t, newServer(t, tt.reply).URL)
			err := e.push(stops(2))
			if tt.message == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tt.message)
				assert.False(t, consumererror.IsPermanent(err))
			}
			assert.Equal(t, tt.outcomes, e.outcomes(t))
		})
	}
}

// The lost answer to a batch that was stored before contained its rejections.
func TestRejectionsAreRequestedAgainWhenTheAnswerWasLost(t *testing.T) {
	ids := stopIDs(8)
	s := newServer(t, status(409), func(w http.ResponseWriter, r *request) {
		for _, id := range r.ids() {
			if id == ids[5] {
				answers(202, "application/json", `{"accepted":0,"duplicates":3,"rejected":[{"eventId":"`+id+`","code":"id_conflict"}]}`)(w, r)
				return
			}
		}
		answers(202, "application/json", `{"accepted":0,"duplicates":4}`)(w, r)
	})
	dir := t.TempDir()
	e := newRig(t, s.URL, withQuarantine(dir))
	require.NoError(t, e.push(stops(8)))
	assert.Equal(t, []int{8, 4, 4}, s.sizes())
	assert.Equal(t, map[string]int64{"duplicate": 7, "quarantined": 1}, e.outcomes(t))
	assert.Equal(t, []string{ids[5]}, eventIDs(quarantined(t, dir)))

	s = newServer(t, status(409))
	e = newRig(t, s.URL)
	require.NoError(t, e.push(stops(8)))
	assert.Len(t, s.got(), 3, "only once")
}

// Each event is stored or quarantined once, and counted once, however the server spells its id.
func TestEachEventIsRejectedOnceWhateverTheSpelling(t *testing.T) {
	ids := stopIDs(4)
	rejects := func(r *request, id, entries string) string { // the answer of a server that rejected id
		if !slices.Contains(r.ids(), id) {
			return fmt.Sprintf(`{"accepted":%d}`, len(r.ids()))
		}
		return fmt.Sprintf(`{"accepted":%d,"rejected":[%s]}`, len(r.ids())-1, entries)
	}
	for _, tt := range []struct {
		desc, entries string
		requests      int
	}{
		{"in upper case", `{"eventId":"` + strings.ToUpper(ids[2]) + `","code":"x"}`, 1},
		{"twice", `{"eventId":"` + ids[2] + `","code":"x"},{"eventId":"` + ids[2] + `","code":"y"}`, 1},
		{"more often than there are events", strings.Repeat(`{"eventId":"`+ids[2]+`","code":"x"},`, 9) + `{"eventId":"` + ids[2] + `"}`, 1},
		{"by a name of its own", `{"eventId":"7","code":"x"}`, 5},
		{"without a name", `{"code":"x"},{"code":"y"}`, 5},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			s := newServer(t, func(w http.ResponseWriter, r *request) {
				answers(202, "application/json", rejects(r, ids[2], tt.entries))(w, r)
			})
			dir := t.TempDir()
			e := newRig(t, s.URL, withQuarantine(dir))
			require.NoError(t, e.push(stops(4)))
			assert.Equal(t, map[string]int64{"accepted": 3, "quarantined": 1}, e.outcomes(t))
			assert.Equal(t, ids[2:3], eventIDs(quarantined(t, dir)))
			assert.Len(t, s.got(), tt.requests)
		})
	}
}

// A long answer must not have a batch sent without limit.
func TestBatchIsBisectedWhenTheAnswerExceedsTheReadLimit(t *testing.T) {
	ids := stopIDs(4)
	s := newServer(t, func(w http.ResponseWriter, r *request) {
		detail := ""
		if slices.Contains(r.ids(), ids[1]) {
			detail = strings.Repeat("x", 1<<20)
		}
		answers(202, "application/json", `{"accepted":1,"detail":"`+detail+`"}`)(w, r)
	})
	dir := t.TempDir()
	e := newRig(t, s.URL, withQuarantine(dir))
	require.NoError(t, e.push(stops(4)))
	assert.Equal(t, map[string]int64{"accepted": 3, "quarantined": 1}, e.outcomes(t))
	got := quarantined(t, dir)
	require.Equal(t, ids[1:2], eventIDs(got))
	assert.Equal(t, "202 Accepted, with a body that exceeds the read limit", got[0].Reason)

	e = newRig(t, newServer(t, answers(202, "text/html", "<html>"+strings.Repeat("x", 1<<20))).URL)
	err := e.push(stops(4))
	require.ErrorContains(t, err, "not of this API", "a long page is not an answer of the API either")
	assert.Equal(t, stopIDs(4), retried(t, err))
}

func TestHugeAnswerIsNotReadCompletely(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, _ *request) {
		w.WriteHeader(http.StatusInternalServerError)
		for range 1000 {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	e := newRig(t, s.URL)
	require.Error(t, e.push(stops(1)))
}

// FuzzAnswer checks what any answer of a server is decoded to.
func FuzzAnswer(f *testing.F) {
	f.Add(202, "application/json", "", []byte(`{"accepted":1,"duplicates":0,"rejected":[{"eventId":"e","code":"c","detail":"d"}]}`))
	f.Add(422, "application/problem+json", "", []byte(`{"type":"about:blank","title":"t","status":422,"detail":"d","errors":[{"field":"f","detail":"d"}]}`))
	f.Add(429, "text/html", "Wed, 21 Oct 2026 07:28:00 GMT", []byte("<h1>later</h1>"))
	f.Add(503, "application/problem+json; charset=\xff", "99999999999999999999", []byte(`{"title":{"a":[]}}`))
	f.Add(409, "", "-1", []byte(nil))
	f.Add(400, "text/html", "", []byte("<html>Authorization: Bearer "+echoedToken))
	f.Add(422, "application/problem+json", "", []byte(`{"title":"`+echoedToken+`","status":1e999999}`))
	f.Add(202, "application/json", "", []byte(`{"accepted":`+strings.Repeat("9", 10_000)+`}`))
	f.Add(202, "application/json", "", []byte(`{"rejected":[`+strings.Repeat(`{},`, 30_000)+`{}]}`))
	f.Add(202, "application/json", "", []byte(strings.Repeat(`[`, 60_000)))
	f.Fuzz(func(t *testing.T, code int, contentType, retryAfter string, body []byte) {
		oracle.Bound(t, oracle.Parsing(len(contentType)+len(retryAfter)+len(body)))
		e := &eventSender{connection: &connection{now: time.Now}, shownURL: "http://backend"}
		e.mask.Add(echoedToken)
		p := payload{items: []item{{eventID: "e"}, {eventID: "f"}, {eventID: "e", revision: 1}}}
		n := len(p.items)
		a := e.read(&http.Response{
			StatusCode: code, Header: http.Header{"Content-Type": {contentType}, "Retry-After": {retryAfter}}, Body: io.NopCloser(bytes.NewReader(body)),
		}, &p, span{0, n})
		require.Equal(t, a.verdict == stored, a.err == nil)
		if a.verdict == stored {
			out, known := p.rejected(span{0, n}, a)
			require.LessOrEqual(t, len(out), n)
			require.True(t, known || len(out) == 0)
			_, known = p.rejected(span{0, 1}, a)
			require.True(t, known, "a batch of one is unambiguous")
		} else {
			require.Less(t, len(a.err.Error()), 8*maxQuotedBytes)
			require.Less(t, len(a.reason), 4*maxQuotedBytes)
		}
		if a.err != nil {
			require.NotContains(t, a.err.Error(), echoedToken)
			require.NotContains(t, a.reason, echoedToken)
		}
		require.True(t, a.duplicates >= 0 && a.duplicates <= n)
		require.True(t, a.retryAfter >= 0 && a.retryAfter <= maxRetryAfter)
	})
}

func TestStatusIsReportedOnlyWhenItChanges(t *testing.T) {
	s := newServer(t, slices.Concat(
		[]reply{status(401), answers(401, "text/plain", "request 2"), status(503)},
		[]reply{status(401), status(404), accept}, []reply{accept, status(403)},
	)...)
	e := newRig(t, s.URL)
	for range 8 {
		_ = e.push(stops(1))
	}
	failed, ok := componentstatus.StatusRecoverableError, componentstatus.StatusOK
	assert.Equal(t, []componentstatus.Status{failed, failed, ok, failed}, e.host.Statuses())
	require.ErrorContains(t, e.host.Events()[0].Err(), "answered 401 Unauthorized")
	require.ErrorContains(t, e.host.Events()[1].Err(), s.URL+"/api/v1/runtime/events: answered 404 Not Found")
}
