// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backendapi

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/zastava-otel/zastava/internal/test/oracle"
)

// canonicalByLibrary is the reference for the hand-written encoder: encoding/json, then RFC 8785 by jsontext.
func canonicalByLibrary(t require.TestingT, v any) string {
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	require.NoError(t, (*jsontext.Value)(&raw).Canonicalize())
	return string(raw)
}

// texts draws difficult strings: controls, quotes, line separators, characters beyond U+FFFF, bytes that are not UTF-8.
func texts() *rapid.Generator[string] {
	odd := rapid.SampledFrom([]string{
		"\x00", "\x1f", "\x7f", "\b\t\n\f\r", `"`, `\`, "/", "<&>", "\u2028", "\u2029", "\ufeff", "\ufffd", "\ufffe", "\uffff",
		"\ue000", "\ud7ff", "\U00010000", "\U0001f600", "\U0010ffff", "\xff", "\xc0\x80", "\xed\xa0\x80", "\xf0\x9f", "e\u0301", "é",
	})
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.OneOf(odd, rapid.String()), 0, 4).Draw(t, "parts"), "")
	})
}

// keys are texts that are UTF-8: names that are the same once repaired are refused by the library, and have their own test.
func keys() *rapid.Generator[string] {
	return rapid.Map(texts(), func(s string) string { return strings.ToValidUTF8(s, "") })
}

func times() *rapid.Generator[time.Time] {
	return rapid.Map(rapid.Int64Range(0, math.MaxInt64), func(ns int64) time.Time { return time.Unix(0, ns).UTC() })
}

func maybe[T any](t *rapid.T, g *rapid.Generator[T], label string) *T {
	if !rapid.Bool().Draw(t, "has "+label) {
		return nil
	}
	return new(g.Draw(t, label))
}

func events() *rapid.Generator[Event] {
	s, n := texts(), rapid.Uint32()
	return rapid.Custom(func(t *rapid.T) Event {
		word := func(label string) string { return s.Draw(t, label) }
		ev := Event{
			Annotations: rapid.MapOfN(keys(), s, 0, 20).Draw(t, "annotations"),
			EventID:     word("id"), Kind: Kind(word("kind")), Node: word("node"), Project: word("project"), Revision: n.Draw(t, "revision"),
			Runtime: Runtime{Engine: word("engine"), Version: word("version")}, Tenant: word("tenant"), When: times().Draw(t, "when"),
			Observation: Observation{
				MissedRuns: maybe(t, n, "missed"), MissedUnknown: rapid.Bool().Draw(t, "unknown"), ObservedAt: maybe(t, times(), "observed"),
				Precision: word("precision"), Source: word("source"), WindowStart: maybe(t, times(), "window"),
			},
		}
		if rapid.Bool().Draw(t, "has workload") {
			ev.Workload = &Workload{
				Container: word("container"), ContainerID: word("container id"), ImageDigest: word("digest"), ImageID: word("image id"),
				ImageRef: word("ref"), Labels: rapid.MapOf(keys(), s).Draw(t, "labels"), Namespace: word("namespace"),
				Platform: word("platform"), Pod: word("pod"), PodUID: word("uid"),
				Owner: maybe(t, rapid.Custom(func(t *rapid.T) Owner { return Owner{s.Draw(t, "owner kind"), s.Draw(t, "owner name")} }), "owner"),
			}
		}
		if rapid.Bool().Draw(t, "has run") {
			ev.Run = &Run{
				ExitCode: maybe(t, n, "exit"), FinishedAt: maybe(t, times(), "finished"), OOMKilled: rapid.Bool().Draw(t, "oom"),
				Reason: word("reason"), RestartCount: maybe(t, n, "restarts"), Signal: word("signal"), StartedAt: maybe(t, times(), "started"),
			}
		}
		if rapid.Bool().Draw(t, "has previous") {
			ev.Previous = &Previous{word("previous"), maybe(t, n, "previous exit"), maybe(t, times(), "previous finished"), word("previous reason")}
		}
		if rapid.Bool().Draw(t, "has crash loop") {
			ev.CrashLoop = &CrashLoop{n.Draw(t, "count"), maybe(t, n, "loop exit"), word("loop reason"), rapid.Float64().Draw(t, "seconds")}
		}
		if rapid.Bool().Draw(t, "has gap") {
			ev.Gap = &Gap{word("cause"), rapid.Uint64().Draw(t, "folded"), times().Draw(t, "from"), word("gap runtime"), times().Draw(t, "to")}
		}
		if rapid.Bool().Draw(t, "has process") {
			ev.Process = &Process{word("build"), rapid.SliceOf(s).Draw(t, "entrypoint"), word("executable"), n.Draw(t, "pid")}
		}
		for range rapid.IntRange(0, 2).Draw(t, "libs") {
			ev.LoadedLibs = append(ev.LoadedLibs, LoadedLib{word("lib build"), word("path"), word("sha256"), rapid.Uint64().Draw(t, "size")})
		}
		for range rapid.IntRange(0, 2).Draw(t, "evidence") {
			ev.Evidence = append(ev.Evidence, Evidence{word("signal"), word("value")})
		}
		return ev
	})
}

func TestAppendCanonicalAgreesWithLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		batch := Batch{BatchID: texts().Draw(t, "batch id"), Events: []Envelope{}}
		for range rapid.IntRange(0, 3).Draw(t, "events") {
			batch.Events = append(batch.Events, Envelope{Event: events().Draw(t, "event"), SchemaVersion: SchemaVersion})
		}
		require.Equal(t, canonicalByLibrary(t, batch), string(batch.AppendCanonical(nil)))
	})
}

func TestFieldsAreInCanonicalOrder(t *testing.T) {
	for _, ev := range []Event{validEvent(), validGap()} {
		ev.CrashLoop = &CrashLoop{Count: 3, ExitCode: new(uint32(1)), Reason: "Error", WindowSeconds: 600}
		var plain strings.Builder
		enc := json.NewEncoder(&plain)
		enc.SetEscapeHTML(false)
		require.NoError(t, enc.Encode(Batch{Events: []Envelope{{Event: ev, SchemaVersion: SchemaVersion}}}))
		require.Equal(t, canonicalByLibrary(t, json.RawMessage(plain.String())), strings.TrimSpace(plain.String()))
	}
}

func TestCanonicalStringsAreEscaped(t *testing.T) {
	for _, tt := range []struct{ desc, in, want string }{
		{"plain", "api", `"api"`},
		{"short escapes", "\b\t\n\f\r\"\\", `"\b\t\n\f\r\"\\"`},
		{"other controls", "\x00\x1f\x0b", `"\u0000\u001f\u000b"`},
		{"no HTML escapes", "<&>/", `"<&>/"`},
		{"line separators and DEL as they are", "\u2028\u2029\x7f", "\"\u2028\u2029\x7f\""},
		{"beyond U+FFFF", "\U0001f600", "\"\U0001f600\""},
		{"not UTF-8", "a\xff\xfeb\xf0\x9f", "\"a\ufffd\ufffdb\ufffd\ufffd\""},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			assert.Equal(t, tt.want, string(appendString(nil, tt.in)))
		})
	}
}

func TestCanonicalKeysAreOrderedByUTF16(t *testing.T) {
	// U+1F600 begins with the unit D83D, before U+E000 and U+FB33, though its bytes come after theirs (RFC 8785, 3.2.3).
	got := appendPairs(nil, map[string]string{"\ufb33": "1", "\U0001f600": "2", "\ue000": "3", "ö": "4", "€": "5", "1": "6", "\r": "7"})
	want := "{\"\\r\":\"7\",\"1\":\"6\",\"ö\":\"4\",\"€\":\"5\",\"\U0001f600\":\"2\",\"\ue000\":\"3\",\"\ufb33\":\"1\"}"
	assert.Equal(t, want, string(got))
}

func TestCanonicalKeysOccurOnceWhenEqualAfterRepair(t *testing.T) {
	for range 20 { // map order is random
		got := appendPairs(nil, map[string]string{"k\xff": "b", "k\xfe": "a", "z": "c"})
		want := "{\"k\ufffd\":\"a\",\"z\":\"c\"}"
		assert.Equal(t, want, string(got))
	}
}

func TestCanonicalTimesAreUTC(t *testing.T) {
	at := time.Date(2026, 11, 22, 19, 9, 44, 120_000_000, time.FixedZone("CET", 3600))
	ev := Event{When: at}
	assert.Contains(t, string(ev.AppendCanonical(nil)), `"when":"2026-11-22T18:09:44.12Z"`)
}

func FuzzCanonicalString(f *testing.F) {
	for _, s := range []string{"", "a\x00\u2028\U0001f600\xff", `"\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		oracle.Bound(t, oracle.Parsing(len(s)))
		require.Equal(t, canonicalByLibrary(t, s), string(appendString(nil, s)))
	})
}

// FuzzDecodeEvent: an event read from any bytes can be written and read again without a change.
func FuzzDecodeEvent(f *testing.F) {
	ev := validEvent()
	f.Add(ev.AppendCanonical(nil))
	f.Add([]byte(`{"when":"2026-11-22T18:09:44Z","run":{"exitCode":4294967295},"annotations":{"":""}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		oracle.Bound(t, oracle.Parsing(len(raw)))
		var ev Event
		if json.Unmarshal(raw, &ev) != nil {
			return
		}
		if ev.Validate() != nil {
			return
		}
		first := ev.AppendCanonical(nil)
		require.Equal(t, canonicalByLibrary(t, &ev), string(first))
		var again Event
		require.NoError(t, json.Unmarshal(first, &again))
		require.Equal(t, string(first), string(again.AppendCanonical(nil)))
	})
}

// BenchmarkCanonical compares the hand-written encoder with the ways that a library offers. Its figures are in
// docs/decisions/0007-canonical-json.md.
func BenchmarkCanonical(b *testing.B) {
	env := Envelope{Event: validEvent(), SchemaVersion: SchemaVersion}
	var buf []byte
	for _, way := range []struct {
		name   string
		encode func() ([]byte, error)
	}{
		{"append", func() ([]byte, error) { buf = env.AppendCanonical(buf[:0]); return buf, nil }},
		{"encode and Canonicalize", func() ([]byte, error) {
			raw, err := json.Marshal(&env)
			if err != nil {
				return nil, err
			}
			return raw, (*jsontext.Value)(&raw).Canonicalize()
		}},
		// Canonical for this event only: times keep their zone, and numbers beyond 2^53 their digits.
		{"encode deterministically", func() ([]byte, error) { return jsonv2.Marshal(&env, jsonv2.Deterministic(true)) }},
	} {
		b.Run(way.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				out, err := way.encode()
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(out)))
			}
		})
	}
}
