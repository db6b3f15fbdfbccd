// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backendapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/zastava-otel/zastava/internal/test/oracle"
)

func validFact() Fact {
	return Fact{
		SymbolID: "sym:binary:x", CodeID: "code:binary:y", BuildID: GNUBuildID(strings.Repeat("9f", 20)), PURL: "pkg:deb/debian/libssl3@3.0.15",
		LoaderBase: "0x7f23c01000", ProcessID: 214, ProcessName: "uwsgi", ContainerID: "containerd://4f1a", HitCount: 3,
		ObservedAt: new(time.Date(2026, 11, 22, 18, 9, 44, 0, time.UTC)),
		Metadata:   map[string]string{FactPath: "/usr/lib/x86_64-linux-gnu/libssl.so.3", FactSHA256: strings.Repeat("ab", 32), FactStatus: "PRESENT"},
	}
}

func TestFactAppendCanonicalAgreesWithLibrary(t *testing.T) {
	s := texts()
	rapid.Check(t, func(t *rapid.T) {
		word := func(label string) string { return s.Draw(t, label) }
		f := Fact{
			BuildID: word("build"), CodeID: word("code"), ContainerID: word("container"), EvidenceURI: word("uri"),
			HitCount: rapid.Uint64().Draw(t, "hits"), LoaderBase: word("base"), Metadata: rapid.MapOfN(keys(), s, 0, 20).Draw(t, "metadata"),
			ObservedAt: maybe(t, times(), "at"), ProcessID: rapid.Uint32().Draw(t, "pid"), ProcessName: word("name"), PURL: word("purl"),
			SocketAddress: word("socket"), SymbolID: word("symbol"),
		}
		require.Equal(t, canonicalByLibrary(t, f), string(f.AppendCanonical(nil)))
	})
}

func TestReadReturnsEncodedFact(t *testing.T) {
	f := validFact()
	f.EvidenceURI, f.SocketAddress = "cas://runtime/1", "10.0.0.5:8443"
	got, err := NewFactReader().Read(f.AppendCanonical(nil), "")
	require.NoError(t, err)
	assert.Equal(t, f, got)
}

func TestReadFaultsNameTheField(t *testing.T) {
	for _, tt := range []struct{ desc, in, want string }{
		{"empty line", ``, "line 3 is not well-formed JSON"},
		{"not an object", `[]`, "line 3 is not a JSON object"},
		{"cut off", `{"symbolId":"a"`, "line 3 is not well-formed JSON: it ends early"},
		{"two values", `{"symbolId":"a","hitCount":1} {}`, "line 3 has something after its end"},
		{"name twice", `{"symbolId":"a","symbolId":"b","hitCount":1}`, "line 3 is not well-formed JSON: duplicate object member name"},
		{"not UTF-8", "{\"symbolId\":\"\xff\",\"hitCount\":1}", "line 3 is not well-formed JSON: invalid UTF-8"},
		{"no symbol", `{"hitCount":1}`, "line 3.symbolId is required"},
		{"no hits", `{"symbolId":"a"}`, "line 3.hitCount must be 1 to"},
		{"negative hits", `{"symbolId":"a","hitCount":-1}`, "line 3.hitCount must be a whole number"},
		{"half a hit", `{"symbolId":"a","hitCount":1.5}`, "line 3.hitCount must be a whole number"},
		{"hits beyond exact numbers", `{"symbolId":"a","hitCount":9007199254740992}`, "line 3.hitCount must be a whole number up to 9007199254740991"},
		{"null", `{"symbolId":"a","hitCount":1,"purl":null}`, "line 3.purl must be a text"},
		{"empty text", `{"symbolId":"a","hitCount":1,"purl":""}`, "line 3.purl must not be empty"},
		{"unknown field", `{"symbolId":"a","hitCount":1,"symbol":"b"}`, "line 3.symbol is not a field of a fact"},
		{"pid beyond 32 bits", `{"symbolId":"a","hitCount":1,"processId":4294967296}`, "line 3.processId must be a whole number up to 4294967295"},
		{"base without 0x", `{"symbolId":"a","hitCount":1,"loaderBase":"7f"}`, "line 3.loaderBase must be 0x"},
		{"local time", `{"symbolId":"a","hitCount":1,"observedAt":"2026-11-22T18:00:00+01:00"}`, "line 3.observedAt must be an RFC 3339 time in UTC"},
		{"year 1", `{"symbolId":"a","hitCount":1,"observedAt":"0001-01-01T00:00:00Z"}`, "line 3.observedAt must be from 1971 to 2199"},
		{"metadata a list", `{"symbolId":"a","hitCount":1,"metadata":[]}`, "line 3.metadata must be an object of texts"},
		{"metadata with a number", `{"symbolId":"a","hitCount":1,"metadata":{"pid":1}}`, "line 3.metadata.pid must be a text"},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			_, err := NewFactReader().Read([]byte(tt.in), "line 3.")
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestFactIDsFollowRules(t *testing.T) {
	digest := func(prefix, tuple string) string {
		sum := sha256.Sum256([]byte(tuple))
		return prefix + base64.RawURLEncoding.EncodeToString(sum[:])
	}
	sum, build := strings.Repeat("ab", 32), "gnu-build-id:"+strings.Repeat("9f", 20)
	path := sha256.Sum256([]byte("/lib/x.so"))
	for _, tt := range []struct {
		desc               string
		in                 Segment
		symbol, code, rest string
	}{
		{
			"whole file",
			Segment{Format: "elf", BuildID: build, SHA256: sum, Path: "/lib/x.so", Size: 10, Name: "x.so"},
			sum + "\x00\x00\x00x.so\x00", "elf\x00" + build + "\x00\x00\x0010\x00" + sum, "file_hash",
		},
		{
			"a function in it",
			Segment{Format: "elf", BuildID: build, SHA256: sum, Section: ".text", Address: "0x40", Size: 2, Name: "f", Linkage: "global"},
			sum + "\x00.text\x000x40\x00f\x00global", "elf\x00" + build + "\x00.text\x000x40\x002\x00" + sum, "file_hash",
		},
		{
			"no build id",
			Segment{Format: "elf", SHA256: sum, Size: 10, Name: "x.so"},
			sum + "\x00\x00\x00x.so\x00", "elf\x00" + sum + "\x00\x00\x0010\x00" + sum, "file_hash",
		},
		{
			"too large to hash",
			Segment{Format: "elf", BuildID: build, Name: "x.so"},
			build + "\x00\x00\x00x.so\x00", "elf\x00" + build + "\x00\x00\x00\x00", "build_id",
		},
		{
			"nothing but its path",
			Segment{Format: "elf", Path: "/lib/x.so", Name: "x.so"},
			hex.EncodeToString(path[:]) + "\x00\x00\x00x.so\x00", "elf\x00" + hex.EncodeToString(path[:]) + "\x00\x00\x00\x00", "path_hash",
		},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			assert.Equal(t, digest("sym:binary:", tt.symbol), tt.in.SymbolID())
			assert.Equal(t, digest("code:binary:", tt.code), tt.in.CodeID())
			assert.Equal(t, tt.rest, tt.in.Identity())
		})
	}
	assert.Equal(t, digest("sym:go:", "golang.org/x/sys\x00v0.1.0"), GoModuleSymbolID("golang.org/x/sys", "v0.1.0"))
}

func TestBuildIDsHavePrefix(t *testing.T) {
	assert.Equal(t, "gnu-build-id:"+strings.Repeat("ab", 16), GNUBuildID(strings.Repeat("AB", 16)))
	assert.Empty(t, GNUBuildID("0011223344556677"), "too short to identify files")
	assert.Empty(t, GNUBuildID(strings.Repeat("zz", 16)))
	assert.Equal(t, "go-build-id:a/b/c/d", GoBuildID("a/b/c/d"))
	assert.Empty(t, GoBuildID("a b"))
	assert.Equal(t, "pe-guid:5f6f3b1c-6d0a-5a57-9a40-0a6c7b8f2f11", PEGUID("5F6F3B1C-6D0A-5A57-9A40-0A6C7B8F2F11"))
	assert.Empty(t, PEGUID("x"))
}

func TestSubjectKeyPrefersImageDigest(t *testing.T) {
	for want, s := range map[string]Subject{
		"image:sha256:a": {ImageDigest: "sha256:a", ScanID: "s"}, "scan:s": {ScanID: "s", Component: "c"}, "component:c@1": {Component: "c", Version: "1"}, "": {Component: "c"},
	} {
		assert.Equal(t, want, s.Key())
		assert.Equal(t, want != "", s.Validate() == nil)
	}
}

// FuzzReadFact: what is read follows the rules, and can be written and read again without a change.
func FuzzReadFact(f *testing.F) {
	v := validFact()
	f.Add(v.AppendCanonical(nil))
	f.Add([]byte(`{"symbolId":"a","hitCount":1,"metadata":{"":"x","":"y"},"purl":null}`))
	f.Add([]byte(`{"symbolId":"\ud800","hitCount":1e3}`))
	reader := NewFactReader()
	f.Fuzz(func(t *testing.T, raw []byte) {
		oracle.Bound(t, oracle.Parsing(len(raw)))
		got, err := reader.Read(raw, "line 1.")
		if err != nil {
			return
		}
		first := got.AppendCanonical(nil)
		require.Equal(t, canonicalByLibrary(t, got), string(first))
		again, err := reader.Read(first, "")
		require.NoError(t, err)
		require.Equal(t, string(first), string(again.AppendCanonical(nil)))
		var plain Fact
		require.NoError(t, json.Unmarshal(raw, &plain), "encoding/json decodes what the strict reader accepts")
	})
}

func BenchmarkFact(b *testing.B) {
	seg := Segment{Format: "elf", BuildID: GNUBuildID(strings.Repeat("9f", 20)), SHA256: strings.Repeat("ab", 32), Path: "/usr/lib/libssl.so.3", Size: 689288, Name: "libssl.so.3"}
	b.Run("ids", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = seg.SymbolID(), seg.CodeID()
		}
	})
	f := validFact()
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		var buf []byte
		for b.Loop() {
			buf = append(f.AppendCanonical(buf[:0]), '\n')
		}
		b.SetBytes(int64(len(buf)))
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		raw := f.AppendCanonical(nil)
		reader := NewFactReader()
		for b.Loop() {
			if _, err := reader.Read(raw, "line 1."); err != nil {
				b.Fatal(err)
			}
		}
		b.SetBytes(int64(len(raw)))
	})
}
