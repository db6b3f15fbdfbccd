// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseReadsServerSentEvents(t *testing.T) {
	tests := map[string]struct {
		stream string
		want   []message
	}{
		"one event":                      {"id: 7\ndata: {}\n\n", []message{{"7", []byte("{}")}}},
		"data over two lines":            {"data: a\ndata: b\n\n", []message{{"", []byte("a\nb")}}},
		"comments and other fields":      {": hello\nevent: x\nretry: 5\ndata: a\n\n", []message{{"", []byte("a")}}},
		"the id stays":                   {"id: 1\ndata: a\n\ndata: b\n\n", []message{{"1", []byte("a")}, {"1", []byte("b")}}},
		"an id alone is no event":        {"id: 1\n\n", nil},
		"CR LF":                          {"data: a\r\n\r\n", []message{{"", []byte("a")}}},
		"CR":                             {"data: a\r\rdata: b\r\r", []message{{"", []byte("a")}, {"", []byte("b")}}},
		"no space after the colon":       {"data:a\n\n", []message{{"", []byte("a")}}},
		"one space only is dropped":      {"data:  a\n\n", []message{{"", []byte(" a")}}},
		"the end is missing":             {"data: a\n\ndata: b\n", []message{{"", []byte("a")}}},
		"the end of a line is missing":   {"data: a\n\ndata: b", []message{{"", []byte("a")}}},
		"empty data is an event":         {"data\n\n", []message{{"", nil}}},
		"an id with NUL is not taken":    {"id: a\x00b\ndata: a\n\n", []message{{"", []byte("a")}}},
		"several empty lines are as one": {"data: a\n\n\n\ndata: b\n\n", []message{{"", []byte("a")}, {"", []byte("b")}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got []message
			require.NoError(t, parse(strings.NewReader(tt.stream), func(m message) { got = append(got, m) }))
			assert.Equal(t, tt.want, got)
			got = nil
			require.NoError(t, parse(iotest.OneByteReader(strings.NewReader(tt.stream)), func(m message) { got = append(got, m) }))
			assert.Equal(t, tt.want, got, "one byte at a time")
		})
	}
}

func TestParseRefusesEventsOverTheLimit(t *testing.T) {
	long := strings.Repeat("x", maxLine/2)
	require.Error(t, parse(strings.NewReader("data: "+long+long+long), func(message) {}), "a line")
	require.Error(t, parse(strings.NewReader(strings.Repeat("data: "+long+"\n", 3)), func(message) {}), "an event")
}

func FuzzParse(f *testing.F) {
	f.Add("id: 1\ndata: {}\n\n")
	f.Add("data: a\r\rdata\r\n: c\n\n")
	f.Fuzz(func(t *testing.T, stream string) {
		oracle.Bound(t, oracle.Parsing(len(stream)))
		collect := func(r *strings.Reader, slow bool) (got []message, err error) {
			if slow {
				err = parse(iotest.OneByteReader(r), func(m message) { got = append(got, m) })
			} else {
				err = parse(r, func(m message) { got = append(got, m) })
			}
			return got, err
		}
		at, err1 := collect(strings.NewReader(stream), false)
		bytewise, err2 := collect(strings.NewReader(stream), true)
		require.NoError(t, err1)
		require.NoError(t, err2)
		assert.Equal(t, at, bytewise, "how the bytes come in does not matter")
	})
}

// TestFollowResumesAfterTheLastEvent has a backend that drops the connection after every second
// event, and once answers something else.
func TestFollowResumesAfterTheLastEvent(t *testing.T) {
	const total = 7
	var mu sync.Mutex
	var askedFrom []string
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		requests++
		if requests == 2 {
			http.Error(w, "later", http.StatusServiceUnavailable)
			return
		}
		after := 0
		askedFrom = append(askedFrom, r.Header.Get("Last-Event-ID"))
		_, _ = fmt.Sscan(r.Header.Get("Last-Event-ID"), &after)
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		for i := after + 1; i <= min(after+2, total); i++ {
			data, err := json.Marshal(backendapi.Event{EventID: strconv.Itoa(i), Kind: backendapi.KindStart})
			assert.NoError(t, err)
			_, _ = fmt.Fprintf(w, "id: %d\ndata: %s\n\n", i, data)
		}
		_, _ = fmt.Fprint(w, "data: not JSON\n\n")
	}))
	defer server.Close()

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []string
	client := server.Client()
	defer client.CloseIdleConnections()
	err := Follow(ctx, client, server.URL, "0", func(e backendapi.Event) {
		got = append(got, e.EventID)
		if len(got) == total {
			cancel()
		}
	})
	require.NoError(t, err)
	assert.Equal(t, []string{"1", "2", "3", "4", "5", "6", "7"}, got)
	mu.Lock()
	defer mu.Unlock()
	assert.Equal(t, []string{"0", "2", "4", "6"}, askedFrom)
}

func TestFollowRefusesABadAddress(t *testing.T) {
	err := Follow(t.Context(), http.DefaultClient, "http://a b/", "", func(backendapi.Event) {})
	require.ErrorContains(t, err, "follow the events at")
	require.NotErrorIs(t, err, context.Canceled)
}
