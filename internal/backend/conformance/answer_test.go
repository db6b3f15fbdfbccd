// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/test/oracle"
)

func TestRetryAfterIsParsed(t *testing.T) {
	now := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"0": 0, "7": 7 * time.Second, "Sun, 22 Nov 2026 18:00:09 GMT": 9 * time.Second, "Sun, 22 Nov 2026 17:00:00 GMT": 0,
		"": -1, "-1": -1, "1.5": -1, "soon": -1, "99999999999": -1,
	} {
		got, ok := retryAfter(value, now)
		assert.Equal(t, want >= 0, ok, value)
		if ok {
			assert.Equal(t, want, got, value)
		}
	}
}

func TestReadMessageReturnsEachMessage(t *testing.T) {
	lines := bufio.NewScanner(strings.NewReader("retry: 1000\n\n: hello\n\nid: 1\nevent: runtime\ndata: a\ndata:b\n\nid:2\n\ndata: c\n\ndata: cut"))
	m, err := readMessage(lines)
	require.NoError(t, err)
	assert.Equal(t, message{"1", "runtime", "a\nb"}, m)
	m, err = readMessage(lines)
	require.NoError(t, err)
	assert.Equal(t, message{id: "2", data: "c"}, m)
	_, err = readMessage(lines)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// FuzzAnswers reads what a stranger answers, every way that a check reads it.
func FuzzAnswers(f *testing.F) {
	f.Add(202, "application/json", "1", `{"accepted":1,"duplicates":0,"rejected":[]}`)
	f.Add(422, "application/problem+json", "", `{"title":"t","errors":[{"field":"events[0].event.kind","detail":"d"}]}`)
	f.Add(200, "text/event-stream", "", "id: 1\nevent: runtime\ndata: {}\n\n")
	s := &session{}
	f.Fuzz(func(t *testing.T, status int, contentType, after, body string) {
		oracle.Bound(t, oracle.Parsing(len(contentType)+len(after)+len(body)))
		a := &answer{status: status, header: http.Header{"Content-Type": {contentType}}, body: []byte(body)}
		line := a.String()
		require.Less(t, len(line), 4*maxShown+64)
		require.False(t, strings.ContainsFunc(line, func(c rune) bool { return !unicode.IsPrint(c) }), "%q", line)
		if in, err := ingested(a, 1); err == nil {
			require.Equal(t, 1, in.Accepted+in.Duplicates+len(in.Rejected))
		}
		_ = refusedFor(a, "x")
		if wait, ok := retryAfter(after, time.Now()); ok {
			require.GreaterOrEqual(t, wait, time.Duration(0))
		}
		lines := bufio.NewScanner(strings.NewReader(body))
		for {
			m, err := readMessage(lines)
			if err != nil {
				require.True(t, errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, bufio.ErrTooLong), err)
				break
			}
			require.NotEmpty(t, m.data)
		}
		_, _ = s.expect(bufio.NewScanner(strings.NewReader(body)), "x")
	})
}
