// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/evidence/buildid"
	"github.com/zastava-otel/zastava/internal/limit"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

func keyOf(n int) contentKey {
	return contentKey{device: 1, inode: uint64(n), handle: "\x00\xff" + strconv.Itoa(n), mtime: -5, ctime: 1 << 62, size: 1 << 40}
}

func contentOf(n int) *content {
	return &content{
		sha256: evidence.Present(fmt.Sprintf("%064x", n)),
		Metadata: buildid.Metadata{
			BuildID: evidence.Present("gnu-build-id:ab"), GoBuildID: evidence.Absent[string](),
			Go: evidence.Present(evidence.GoBuild{Version: "go1.26.8", Modules: []evidence.GoModule{{Path: "a.example/a", Version: "v1", Main: true}}}),
		},
	}
}

func saved(tb testing.TB, s *Sampler, maximum int64) string {
	tb.Helper()
	var text bytes.Buffer
	require.NoError(tb, s.SaveFiles(&text, maximum))
	return text.String()
}

func samplerOf(tb testing.TB, entries int) *Sampler {
	tb.Helper()
	c := testConfig()
	c.CacheEntries = entries
	s, err := NewSampler(c)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

func TestRememberedFilesComeBackInTheirOrder(t *testing.T) {
	before, after := samplerOf(t, 10), samplerOf(t, 10)
	for n := range 5 {
		before.contents.add(keyOf(n), contentOf(n))
	}
	before.contents.add(keyOf(7), &content{sha256: evidence.Unknown[string](evidence.ReasonTooLarge), Metadata: buildid.Unknown(evidence.ReasonHostile)})
	before.contents.alias(keyOf(100), keyOf(3))
	text := saved(t, before, 1<<20)
	require.NoError(t, after.LoadFiles(strings.NewReader(text)))
	assert.Equal(t, text, saved(t, after, 1<<20))
	found, ok := after.contents.get(keyOf(100))
	require.True(t, ok)
	assert.Equal(t, contentOf(3), found)
	found, ok = after.contents.get(keyOf(7))
	require.True(t, ok)
	assert.Equal(t, evidence.ReasonHostile, found.Go.Reason)
}

func TestSavedFilesKeepWithinTheirMaximum(t *testing.T) {
	s := samplerOf(t, 1000)
	for n := range 1000 {
		s.contents.add(keyOf(n), contentOf(n))
	}
	text := saved(t, s, 10_000)
	assert.LessOrEqual(t, len(text), 10_000)
	assert.Greater(t, len(text), 9_000)
	assert.Contains(t, text, `"Inode":999`, "what was used last is kept")
}

func TestHostileRememberedFilesAreRefused(t *testing.T) {
	good := samplerOf(t, 10)
	good.contents.add(keyOf(1), contentOf(1))
	line := saved(t, good, 1<<20)
	for name, hostile := range map[string]string{
		"empty objects":        strings.Repeat("{}\n", 5<<20),
		"many modules":         strings.Repeat(`{"content":{"Go":{"Value":{"Modules":[`+strings.TrimSuffix(strings.Repeat("{},", 16_000), ",")+`]}}}}`+"\n", 300),
		"holes":                strings.Repeat("\x00", 16<<20),
		"a line without end":   strings.Repeat(" ", 16<<20),
		"another hash":         strings.ReplaceAll(line, `"Value":"0`, `"Value":"x`),
		"no hash":              strings.ReplaceAll(line, `"PRESENT"`, `"ABSENT"`),
		"an alias and content": strings.Replace(line, `{"key"`, `{"alias":{"Inode":1},"key"`, 1),
		"deep":                 strings.Repeat("[", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			oracle.Bound(t, oracle.Cost{Bytes: 48 << 20, CPU: time.Minute})
			s := samplerOf(t, 10)
			require.Error(t, s.LoadFiles(strings.NewReader(line+hostile)))
			_, known := s.contents.get(keyOf(1))
			assert.True(t, known, "what came before is known")
			assert.Equal(t, 1, s.contents.known.lru.Len())
		})
	}
}

func TestMoreFilesThanAreRememberedAreNotLoaded(t *testing.T) {
	many := samplerOf(t, 1000)
	for n := range 1000 {
		many.contents.add(keyOf(n), contentOf(n))
	}
	few := samplerOf(t, 10)
	var exceeded *limit.Error
	require.ErrorAs(t, few.LoadFiles(strings.NewReader(saved(t, many, 16<<20))), &exceeded)
	_, known := few.contents.get(keyOf(999))
	assert.True(t, known, "those used last are")
}

func FuzzRememberedFiles(f *testing.F) {
	s := samplerOf(f, 100)
	s.contents.add(keyOf(1), contentOf(1))
	s.contents.alias(keyOf(2), keyOf(1))
	f.Add([]byte(saved(f, s, 1<<20)))
	f.Add([]byte(`{"key":{"Inode":1},"sha256":{"Status":"UNKNOWN","Reason":"too_large"},"content":{}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		oracle.Bound(t, oracle.Parsing(len(text)))
		contents, err := newContents(100)
		require.NoError(t, err)
		s := &Sampler{contents: contents}
		_ = s.LoadFiles(bytes.NewReader(text))
		first := saved(t, s, 1<<24)
		again, err := newContents(100)
		require.NoError(t, err)
		other := &Sampler{contents: again}
		require.NoError(t, other.LoadFiles(strings.NewReader(first)), "what is saved can be loaded")
		assert.Equal(t, first, saved(t, other, 1<<24))
		for line := range strings.Lines(first) {
			assert.True(t, json.Valid([]byte(line)))
		}
	})
}
