// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	goruntime "runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/limit"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

func kindOf(t *testing.T, err error) limit.Kind {
	t.Helper()
	var exceeded *limit.Error
	require.ErrorAs(t, err, &exceeded)
	return exceeded.Kind
}

// TestScannerPassesOnWhatIsWithinBounds also reads byte by byte: a bound must not depend on how an answer arrives.
func TestScannerPassesOnWhatIsWithinBounds(t *testing.T) {
	long := strings.Repeat("x", 3*maxString)
	for name, test := range map[string]struct {
		text string
		want string // empty: as it is
		kind limit.Kind
	}{
		"an object":                     {text: `{"a":[1,-2.5e+3,null,true,"b\"}]"]} `},
		"a long string":                 {text: `{"a":"` + long + `","b":1}`, want: `{"a":"` + long[:maxString] + `","b":1}`},
		"a long string of escapes":      {text: `["` + strings.Repeat(`\u00e9`, maxString) + `"]`, want: `["` + strings.Repeat(`\u00e9`, (maxString+5)/6) + `"]`},
		"a long string of quotes":       {text: `["` + strings.Repeat(`\"`, maxString) + `"]`, want: `["` + strings.Repeat(`\"`, maxString/2) + `"]`},
		"a backslash where it is cut":   {text: `["` + long[:maxString-1] + `\\xyz"]`, want: `["` + long[:maxString-1] + `\\"]`},
		"many digits":                   {text: `{"a":` + strings.Repeat("9", maxDigits+1) + `}`, kind: limit.Digits},
		"deep":                          {text: strings.Repeat(`[`, maxNesting+1), kind: limit.Nesting},
		"many values":                   {text: `[` + strings.Repeat(`0,`, maxItems+1), kind: limit.Items},
		"many objects of few values":    {text: `[` + strings.Repeat(`{},`, maxItems), kind: limit.Items},
		"a large object":                {text: `{` + strings.Repeat(`"a":"`+long[:maxString]+`",`, 1<<20/maxString), kind: limit.Bytes},
		"a string without an end":       {text: `"` + strings.Repeat("x", 9<<20), kind: limit.Bytes},
		"white space without an end":    {text: strings.Repeat(" ", 9<<20), kind: limit.Bytes},
		"closing brackets without open": {text: `]}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			for how, from := range map[string]io.Reader{
				"whole": strings.NewReader(test.text), "in bytes": iotest.OneByteReader(strings.NewReader(test.text)),
			} {
				got, err := io.ReadAll(&scanner{from: from, bounds: &userBounds})
				if test.kind != "" {
					assert.Equal(t, test.kind, kindOf(t, err), how)
					assert.LessOrEqual(t, len(got), 2<<20, "what was passed on")
					continue
				}
				require.NoError(t, err)
				want := test.want
				if want == "" {
					want = test.text
				}
				assert.Equal(t, want, string(got), how)
				if json.Valid([]byte(test.text)) {
					assert.True(t, json.Valid(got), how)
				}
			}
		})
	}
}

func TestStreamIsBoundedByMessageAndRate(t *testing.T) {
	b := userBounds
	messages := func(n int, text string) error {
		f := &flow{rate: b.rate, began: time.Now()}
		_, err := io.Copy(io.Discard, &scanner{from: strings.NewReader(strings.Repeat(text+"\n", n)), bounds: &b, ended: f.message})
		return err
	}
	require.NoError(t, messages(int(b.rate.messages)*5, `{"a":{"b":1}}`), "a burst")
	assert.Equal(t, kindMessages, kindOf(t, messages(int(b.rate.messages)*20, `{"a":1}`)))
	assert.Equal(t, kindFlow, kindOf(t, messages(10, `{"a":"`+strings.Repeat("x", 1<<20)+`"}`)))
	assert.Equal(t, limit.Items, kindOf(t, messages(1, `[`+strings.Repeat("1,", maxItems+1)+`]`)))
}

func TestFlowForgetsWhatIsLongAgo(t *testing.T) {
	f := &flow{rate: rate{messages: 10, bytes: 1 << 20}, began: time.Now().Add(-time.Hour)}
	var err error
	n := 0
	for ; err == nil && n < 1_000_000; n++ {
		err = f.message(1)
	}
	require.Error(t, err)
	assert.Less(t, n, 40_000, "an idle hour is no allowance for long")
}

func FuzzScannerKeepsJSON(f *testing.F) {
	for _, seed := range []string{`{"a":"\u00e9\\\""}`, `["` + strings.Repeat(`\u0041`, maxString) + `"]`, `"\`, `{}]`, "\x1e{}", `-`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		oracle.Bound(t, oracle.Parsing(len(text)))
		got, err := io.ReadAll(&scanner{from: strings.NewReader(string(text)), bounds: &userBounds})
		if err == nil && json.Valid(text) && !json.Valid(got) {
			t.Errorf("%q became %q", text, got)
		}
	})
}

func TestListReaderPassesOnOnlyWhatIsRead(t *testing.T) {
	keep := func(label string) bool { return label == "app" }
	read := func(text string, most int) (string, error) {
		got, err := io.ReadAll(newListReader(strings.NewReader(text), most, keep))
		return string(got), err
	}
	got, err := read(`[{"Id":"a","Command":"secret","Labels":{"app":"x","secret":"y"},"Health":{"Status":"healthy"}},{"Id":"b"}]`, 2)
	require.NoError(t, err)
	assert.JSONEq(t, `[{"Id":"a","Names":null,"Image":"","ImageID":"","Created":0,"Labels":{"app":"x"},"State":"","Status":"","Health":{"Status":"healthy"}},
		{"Id":"b","Names":null,"Image":"","ImageID":"","Created":0,"Labels":null,"State":"","Status":""}]`, got)

	for text, want := range map[string]string{`[]`: `[]`, `null`: `[]`, `{"message":"x"}`: `"not a list"`} {
		got, err := read(text, 2)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	_, err = read(`[{},{},{}]`, 2)
	assert.Equal(t, kindContainers, kindOf(t, err))
	for _, text := range []string{``, `[`, `[{}`, `[{},`, `[{"Id":1}]`, `[1]`, `[}`} {
		_, err := read(text, 2)
		if text == `` {
			require.NoError(t, err, "the client reports an empty answer")
			continue
		}
		require.Error(t, err, text)
	}
}

// TestAnswersWithoutEndAreErrors asserts for each call: an error that names call and limit, an end by itself, and little memory.
func TestAnswersWithoutEndAreErrors(t *testing.T) {
	item := `{"Id":"` + id1 + `","Names":["/x"],"State":"running","Labels":{"a":"` + strings.Repeat("x", 60_000) + `"}},`
	for name, test := range map[string]struct {
		path, open, rest string
		call             func(ctx context.Context, r *Runtime) error
		want             string
	}{
		"a list of containers":      {"/containers/json", "[", item, func(ctx context.Context, r *Runtime) error { _, err := r.List(ctx, nil); return err }, "list all containers"},
		"a list of little":          {"/containers/json", "[", `{},`, func(ctx context.Context, r *Runtime) error { _, err := r.List(ctx, nil); return err }, "20000 containers"},
		"one container's list item": {"/containers/json", `[{"Names":[`, `"",`, func(ctx context.Context, r *Runtime) error { _, err := r.List(ctx, nil); return err }, "items"},
		"an inspection":             {"/containers/" + id1 + "/json", `{"Config":{"Env":[`, `"",`, func(ctx context.Context, r *Runtime) error { _, err := r.PID(ctx, id1); return err }, "GET /containers/{id}/json"},
		"an inspection's text":      {"/containers/" + id1 + "/json", `{"Name":"`, strings.Repeat("x", 60_000), func(ctx context.Context, r *Runtime) error { _, err := r.PID(ctx, id1); return err }, "bytes"},
		"a version":                 {"/version", `{"Components":[`, `{},`, func(ctx context.Context, r *Runtime) error { _, err := r.Info(ctx); return err }, "GET /version"},
		"an error":                  {"/version", `{"message":"`, strings.Repeat("x", 60_000), func(ctx context.Context, r *Runtime) error { _, err := r.Info(ctx); return err }, "version"},
		"an event":                  {"/events", `{"Actor":{"Attributes":{`, `"a":"b",`, func(ctx context.Context, r *Runtime) error { return r.Watch(ctx, func() {}, func(runtime.Notice) {}) }, "GET /events"},
		"events":                    {"/events", ``, `{"Type":"container","Action":"oom","Actor":{"ID":"` + id1 + `"}}` + "\n", func(ctx context.Context, r *Runtime) error { return r.Watch(ctx, func() {}, func(runtime.Notice) {}) }, "messages a second"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t)
			r := e.runtime(func(o *Options) { o.Timeout = time.Minute })
			slow := rootBounds
			slow.rate = rate{messages: 100, bytes: 1 << 20} // this machine may decode fewer than the real rate
			r.bounds = &slow
			var sent atomic.Int64
			e.stream(test.path, func(w http.ResponseWriter) {
				if name == "an error" {
					w.WriteHeader(http.StatusInternalServerError)
				}
				_, _ = io.WriteString(w, test.open)
				chunk := strings.Repeat(test.rest, 1+60_000/len(test.rest))
				for {
					n, err := io.WriteString(w, chunk)
					if sent.Add(int64(n)); err != nil {
						return
					}
				}
			})
			peak := peakHeap(t)
			err := test.call(t.Context(), r)
			require.ErrorContains(t, err, test.want)
			assert.Less(t, len(err.Error()), 2048)
			assert.Less(t, peak(), uint64(64<<20))
			assert.Less(t, sent.Load(), int64(512<<20))
		})
	}
}

// peakHeap measures the heap until the returned function is called, which returns how much larger than at the start it was at most.
func peakHeap(t *testing.T) func() uint64 {
	t.Helper()
	goruntime.GC()
	heap := func() uint64 {
		var m goruntime.MemStats
		goruntime.ReadMemStats(&m)
		return m.HeapInuse
	}
	began, done := heap(), make(chan struct{})
	most := make(chan uint64)
	go func() {
		peak := began
		for {
			select {
			case <-done:
				most <- max(peak, heap()) - began
				return
			case <-time.After(5 * time.Millisecond):
				peak = max(peak, heap())
			}
		}
	}()
	return func() uint64 { close(done); return <-most }
}

// A label that an image brings along must not hide the other containers.
func TestContainerWithAHugeLabelDoesNotHideTheOthers(t *testing.T) {
	e := newEngine(t)
	huge := fmt.Sprintf(`{"Id":%q,"Names":["/huge"],"State":"running","Labels":{"app":%q}}`, id2, strings.Repeat("x", 10<<20))
	e.respond("/containers/json", "["+huge+","+listItem(id1, "running", "Up 5 seconds", "")+"]")
	summaries, err := e.informed().List(t.Context(), nil)
	require.NoError(t, err)
	assert.Len(t, summaries, 2)
}

// Ids of a MB must appear in no error, notice or summary.
func TestIDsThatAreNoIDsAreSetAsideAndCounted(t *testing.T) {
	long := strings.Repeat("a", 1<<20)
	e := newEngine(t)
	var counted atomic.Int64
	r := e.runtime(func(o *Options) { o.SetAside = func(n int) { counted.Add(int64(n)) } })
	e.respond("/containers/json", "["+listItem(long, "running", "Up 5 seconds", "")+","+listItem("", "running", "", "")+","+listItem("a\u202eb\n", "running", "", "")+
		","+listItem(id1, "running", "Up 5 seconds", "")+"]")
	summaries, err := r.List(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, summaries, 1)
	assert.Equal(t, id1, summaries[0].ID)
	assert.Equal(t, int64(3), counted.Load())

	e.events = []string{`{"Type":"container","Action":"oom","Actor":{"ID":"` + long + `"}}`, `{"Type":"container","Action":"oom","Actor":{"ID":"` + id1 + `"}}`}
	got := make(chan runtime.Notice, 2)
	go func() { assert.NoError(t, r.Watch(t.Context(), func() {}, func(n runtime.Notice) { got <- n })) }()
	assert.Equal(t, id1, (<-got).ID)
	assert.Equal(t, int64(4), counted.Load())

	for _, call := range []func() error{
		func() error { _, err := r.Find(t.Context(), long); return err },
		func() error { _, err := r.PID(t.Context(), long); return err },
	} {
		err := call()
		require.ErrorIs(t, err, runtime.ErrNotFound)
		assert.Less(t, len(err.Error()), 2048)
	}
}

func TestErrorsOfTheEngineAreBounded(t *testing.T) {
	e := newEngine(t)
	e.respond("/containers/json", `{"message":"`+strings.Repeat("y\u202e", 100_000)+`"}`)
	e.mu.Lock()
	e.status["/containers/json"] = http.StatusInternalServerError
	e.mu.Unlock()
	_, err := e.informed().List(t.Context(), nil)
	require.Error(t, err)
	assert.Less(t, len(err.Error()), 4096)
	assert.NotContains(t, err.Error(), "\u202e")
	assert.NotErrorIs(t, err, errors.ErrUnsupported)
}
