// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package quarantine

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/test/oracle"
)

func TestReadReturnsInvalidLinesAsErrorsAndGoesOn(t *testing.T) {
	good := entry(1)
	line, err := good.appendLine(nil)
	require.NoError(t, err)
	in := "\n" + string(line) + "nonsense\n\x00\x00\n{}\n" + `{"event":{"eventId":""},"schemaVersion":"v1"}` + "\n" +
		`{"event":{"eventId":"a","revision":-1},"schemaVersion":"v1"}` + "\n" + string(line) + `{"event":`
	var ok, bad int
	torn, err := Read(strings.NewReader(in), func(l Line) error {
		if l.Err != nil {
			bad++
			return nil //nolint:nilerr // counted
		}
		ok++
		assert.Equal(t, string(line), in[l.From:l.To])
		return nil
	})
	require.NoError(t, err)
	assert.True(t, torn)
	assert.Equal(t, 2, ok)
	assert.Equal(t, 6, bad)
}

func TestReadRefusesLinesThatAreExpensiveToDecode(t *testing.T) {
	oracle.Bound(t, oracle.Cost{Bytes: 256 << 20, CPU: 10 * time.Second})
	for desc, value := range map[string]string{
		"nesting":                strings.Repeat("[", 1<<20) + strings.Repeat("]", 1<<20),
		"items":                  "[" + strings.Repeat("0,", 2<<20) + "0]",
		"characters of a number": strings.Repeat("9", 1<<20),
		"exponent of a number":   "1e999999999",
	} {
		in := `{"event":{"eventId":"a","x":` + value + `},"schemaVersion":"v1"}` + "\n"
		_, err := Read(strings.NewReader(in), func(l Line) error {
			require.ErrorContains(t, l.Err, desc)
			return nil
		})
		require.NoError(t, err)
	}
}

func TestReadStopsWhenTheCallbackFails(t *testing.T) {
	stop := errors.New("enough")
	_, err := Read(strings.NewReader("a\nb\n"), func(Line) error { return stop })
	require.ErrorIs(t, err, stop)
}

func TestReadSkipsALineThatIsTooLong(t *testing.T) {
	in := append(bytes.Repeat([]byte{'x'}, MaxLineBytes+1), "\nnext\n"...)
	var lines []Line
	_, err := Read(bytes.NewReader(in), func(l Line) error {
		lines = append(lines, l)
		return nil
	})
	require.NoError(t, err)
	require.Len(t, lines, 2)
	require.ErrorContains(t, lines[0].Err, "longer than")
	assert.Equal(t, int64(MaxLineBytes+2), lines[1].From)
}

func FuzzRead(f *testing.F) {
	e := entry(1)
	line, err := e.appendLine(nil)
	require.NoError(f, err)
	f.Add(line)
	f.Add(line[:20])
	f.Add(append(append([]byte("x\n"), line...), line[:9]...))
	f.Add([]byte(`{"Event":{"EVENTID":"a"},"event":{"eventId":"b"},"schemaVersion":"<"}` + "\n"))
	f.Add([]byte(`{"event":{"eventId":"a","x":` + strings.Repeat("[", 9000) + `},"schemaVersion":"v1"}` + "\n"))
	f.Add([]byte(`{"event":{"eventId":"a","revision":1e999999},"schemaVersion":"v1"}` + "\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		oracle.Bound(t, oracle.Parsing(len(in)))
		var at int64
		torn, err := Read(bytes.NewReader(in), func(l Line) error {
			require.Equal(t, at, l.From, "lines are contiguous")
			at = l.To
			require.Equal(t, byte('\n'), in[l.To-1])
			if l.Err != nil {
				return nil //nolint:nilerr // foreign bytes
			}
			require.True(t, json.Valid(l.Entry.Envelope))
			again, err := l.Entry.appendLine(nil)
			if err != nil { // a time that RFC 3339 cannot express
				return nil //nolint:nilerr // see above
			}
			back, err := parse(bytes.TrimSuffix(again, []byte("\n")))
			require.NoError(t, err)
			require.Equal(t, l.Entry.EventID, back.EventID)
			require.Equal(t, l.Entry.Revision, back.Revision)
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, torn, at < int64(len(in)))
	})
}
