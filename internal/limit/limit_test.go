// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package limit_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/limit"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

var plenty = limit.Limits{Bytes: 1 << 20, Unpacked: 1 << 20, Items: 1 << 20, CPU: time.Hour}

func kindOf(t *testing.T, err error) limit.Kind {
	t.Helper()
	var exceeded *limit.Error
	require.ErrorAs(t, err, &exceeded)
	return exceeded.Kind
}

func TestReaderFailsPastItsLimitOnly(t *testing.T) {
	for _, c := range []struct {
		name    string
		input   string
		maximum int64
		want    string
		fails   bool
	}{
		{"empty", "", 0, "", false},
		{"shorter", "abc", 4, "abc", false},
		{"as long", "abcd", 4, "abcd", false},
		{"one longer", "abcde", 4, "abcd", true},
		{"much longer", strings.Repeat("x", 10_000), 4, "xxxx", true},
		{"nothing allowed", "a", 0, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, from := range map[string]io.Reader{
				"whole": strings.NewReader(c.input), "one byte at a time": iotest.OneByteReader(strings.NewReader(c.input)),
				"data with the error": iotest.DataErrReader(strings.NewReader(c.input)),
			} {
				got, err := io.ReadAll(limit.Reader(from, c.maximum))
				assert.Equal(t, c.want, string(got), name)
				if c.fails {
					assert.Equal(t, limit.Bytes, kindOf(t, err), name)
				} else {
					assert.NoError(t, err, name)
				}
			}
		})
	}
}

func TestUnpackedBytesAreBoundedWhateverTheInput(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write(make([]byte, 64<<20))
	require.NoError(t, err)
	require.NoError(t, w.Close())

	limits := plenty
	b := limit.New(limits)
	z, err := gzip.NewReader(b.Reader(&packed))
	require.NoError(t, err)
	n, err := io.Copy(io.Discard, b.Unpacked(z))
	assert.Equal(t, limit.Unpacked, kindOf(t, err))
	assert.Equal(t, limits.Unpacked, n)
	assert.Equal(t, err, b.Err(), "a limit that is reached stays reached")
	assert.Equal(t, err, b.Item(1))
	assert.Equal(t, err, b.Take(1))
}

func TestItemsAndBytesAreCounted(t *testing.T) {
	limits := plenty
	limits.Items, limits.Bytes = 3, 10
	b := limit.New(limits)
	require.NoError(t, b.Item(3))
	require.NoError(t, b.Take(10))
	require.NoError(t, b.Err())
	assert.Equal(t, limit.Items, kindOf(t, b.Item(1)))

	assert.Equal(t, limit.Bytes, kindOf(t, limit.New(limits).Take(11)))
	assert.Equal(t, limit.Bytes, kindOf(t, limit.New(limits).Take(-1)), "a length from a file may be negative")
	b = limit.New(limit.Limits{Items: 1<<63 - 1, CPU: time.Hour})
	require.NoError(t, b.Item(1<<63-1))
	assert.Equal(t, limit.Items, kindOf(t, b.Item(1<<62)), "a sum may overflow")
}

func TestCPUTimeIsBounded(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	limits := plenty
	limits.CPU, limits.Items = 20*time.Millisecond, 1<<62
	b := limit.New(limits)
	var err error
	items := 0
	for ; err == nil && items < 1<<40; items++ {
		err = b.Item(1)
	}
	assert.Equal(t, limit.CPU, kindOf(t, err))
	assert.Greater(t, items, 256)
	assert.EqualError(t, err, "more than 20 ms of CPU time")
}

func TestJSONThatIsExpensiveIsRefused(t *testing.T) {
	bounds := limit.JSON{Nesting: 4, Items: 10, Digits: 32}
	for _, c := range []struct {
		name, text string
		want       limit.Kind // empty: allowed
	}{
		{"plain", `{"a":1,"b":[true,null,"x"]}`, ""},
		{"a double", `[-1.7976931348623157e+308,5e-324]`, ""},
		{"many digits", `{"size":` + strings.Repeat("9", 33) + `}`, limit.Digits},
		{"as many digits as allowed", `{"size":` + strings.Repeat("9", 32) + `}`, ""},
		{"many digits after the point", `[0.` + strings.Repeat("1", 900_000) + `]`, limit.Digits},
		{"a large exponent", `[1e999999]`, limit.Exponent},
		{"a large exponent with signs", `[-1E+999999]`, limit.Exponent},
		{"a small exponent", `[1e-99999999]`, limit.Exponent},
		{"an exponent that overflows", `[1e9999999999999999999999]`, limit.Exponent},
		{"an exponent with zeros before", `[1e0000000000000000001]`, ""},
		{"two exponents", `[1e1e999999]`, limit.Exponent},
		{"deep arrays", strings.Repeat("[", 500_000), limit.Nesting},
		{"deep objects", strings.Repeat(`{"a":`, 5), limit.Nesting},
		{"as deep as allowed", `[[[[]]]]`, ""},
		{"many elements", `[` + strings.Repeat("1,", 11) + `1]`, limit.Items},
		{"digits in a string", `["` + strings.Repeat("9", 100) + `"]`, ""},
		{"brackets in a string", `["` + strings.Repeat("[{,", 100) + `"]`, ""},
		{"an escaped quote", `["\"` + strings.Repeat("[", 100) + `"]`, ""},
		{"an escaped backslash before the end of a string", `["\\",` + strings.Repeat("[", 100), limit.Nesting},
		{"a string without an end", `["` + strings.Repeat("[", 100), ""},
		{"a backslash at the end", `["\`, ""},
		{"not JSON", `}}}}]`, ""},
		{"empty", ``, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := limit.CheckJSON([]byte(c.text), bounds)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			assert.Equal(t, c.want, kindOf(t, err))
		})
	}
}

func TestChecksDoNotAllocate(t *testing.T) {
	text := []byte(`{"a":[1,2,3],"b":{"c":"d\"e"},"f":-1.5e10}`)
	b := limit.New(limit.Limits{Items: 1 << 40, CPU: time.Hour})
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		_ = limit.CheckJSON(text, limit.JSON{Nesting: 9, Items: 99, Digits: 32})
		_ = b.Item(1)
	}))
}

func FuzzCheckJSON(f *testing.F) {
	for _, seed := range []string{`{"a":1e9}`, `"\`, `[[[`, `1e`, `-`, `"\\"`, "\"\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		oracle.Bound(t, oracle.Parsing(len(text)))
		const nesting = 3
		err := limit.CheckJSON(text, limit.JSON{Nesting: nesting, Items: 100, Digits: 32})
		if err == nil && bytes.Count(text, []byte("[")) > 0 && !bytes.Contains(text, []byte(`"`)) {
			depth, deepest := 0, 0
			for _, c := range text {
				switch c {
				case '[', '{':
					depth++
				case ']', '}':
					depth--
				}
				deepest = max(deepest, depth)
			}
			assert.LessOrEqual(t, deepest, nesting)
		}
	})
}

// BenchmarkCheckJSON measures the scan beside the floor: touching each byte once.
func BenchmarkCheckJSON(b *testing.B) {
	text := []byte(`{"events":[` + strings.Repeat(`{"id":"0a6c7b8f2f11","size":689288,"labels":{"app":"api"}},`, 10_000) + `{}]}`)
	b.Run("scan", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			_ = limit.CheckJSON(text, limit.JSON{Nesting: 99, Items: 1 << 30, Digits: 32})
		}
	})
	b.Run("floor", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		sum := 0
		for b.Loop() {
			for _, c := range text {
				sum += int(c)
			}
		}
		_ = sum
	})
}
