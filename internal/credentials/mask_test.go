// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/credentials"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

const (
	token    = "Zx9-qT7_wL2.kP5~vN8+bM3/hJ6=rD4"
	password = "hunter2-of-the-node"
)

// escaped writes every character as JSON may.
func escaped(s string) string {
	var out strings.Builder
	for _, r := range s {
		_, _ = fmt.Fprintf(&out, `\u%04X`, r)
	}
	return out.String()
}

func percent(s string) string {
	var out strings.Builder
	for i := range len(s) {
		_, _ = fmt.Fprintf(&out, "%%%02x", s[i])
	}
	return out.String()
}

func entities(s string) string {
	var out strings.Builder
	for i, r := range s {
		_, _ = fmt.Fprintf(&out, []string{"&#%d;", "&#x%x;", "&#X%X"}[i%3], r)
	}
	return out.String()
}

// quoted returns a JSON string.
func quoted(s string) string {
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always has a form in JSON
	}
	return string(raw)
}

// echoes are the forms in which a server or proxy may send a credential back.
var echoes = map[string]func(secret string) string{
	"as it is":             func(s string) string { return s },
	"in upper case":        strings.ToUpper,
	"in JSON":              func(s string) string { return `{"got":` + quoted(s) + `}` },
	"in JSON within JSON":  func(s string) string { return quoted(quoted(s)) },
	"with JSON escapes":    escaped,
	"with one JSON escape": func(s string) string { return s[:9] + escaped(s[9:10]) + s[10:] },
	"with double escapes":  func(s string) string { return quoted(escaped(s)) },
	"with escaped slashes": func(s string) string { return strings.ReplaceAll(s, "/", `\/`) },
	"in a URL":             url.QueryEscape,
	"all percent-encoded":  percent,
	"in HTML":              html.EscapeString,
	"all entities":         entities,
	"in base64":            func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"in base64 for URLs":   func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"within base64": func(s string) string {
		return base64.StdEncoding.EncodeToString([]byte("Authorization: Bearer " + s + "\r\n"))
	},
	"within base64, 2":          func(s string) string { return base64.StdEncoding.EncodeToString([]byte("x" + s + "y")) },
	"within base64, 3":          func(s string) string { return base64.StdEncoding.EncodeToString([]byte("xy" + s)) },
	"in hexadecimal digits":     func(s string) string { return hex.EncodeToString([]byte(s)) },
	"as a dump":                 func(s string) string { return fmt.Sprintf("% x", s) },
	"broken into lines":         func(s string) string { return s[:len(s)/2] + "\r\n\t" + s[len(s)/2:] },
	"with zero-width spaces":    func(s string) string { return strings.Join(strings.Split(s, ""), "\u200b") },
	"its beginning":             func(s string) string { return s[:len(s)/2] },
	"its end":                   func(s string) string { return s[len(s)/2:] },
	"twice":                     func(s string) string { return s + s },
	"with a scheme and a name":  func(s string) string { return "Authorization: Bearer " + s },
	"after many bytes of noise": func(s string) string { return strings.Repeat("!", 900) + s },
}

func decodings(s string) []string {
	out := []string{s}
	for _, word := range strings.FieldsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/-_", r)
	}) {
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			if raw, err := enc.DecodeString(word); err == nil {
				out = append(out, string(raw))
			}
		}
		if raw, err := hex.DecodeString(word); err == nil {
			out = append(out, string(raw))
		}
	}
	var text string
	if json.Unmarshal([]byte(`"`+strings.ReplaceAll(s, `"`, ``)+`"`), &text) == nil {
		out = append(out, text)
	}
	if text, err := url.QueryUnescape(s); err == nil {
		out = append(out, text)
	}
	return append(out, html.UnescapeString(s), strings.ReplaceAll(s, "\u200b", ""))
}

// requireHidden fails if 12 characters in a row of the secret, of which at least 8 are letters and digits, can be read in text.
func requireHidden(t *testing.T, secret, text, desc string) {
	t.Helper()
	for _, form := range decodings(text) {
		for i := 0; i+12 <= len(secret); i++ {
			require.NotContains(t, strings.ToLower(form), strings.ToLower(secret[i:i+12]), "%s: %s", desc, text)
		}
	}
}

func TestEchoedCredentialsAreMasked(t *testing.T) {
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("agent:"+password))
	for header, secrets := range map[string][]string{
		"Bearer " + token: {token},
		basic:             {password, strings.TrimPrefix(basic, "Basic "), "agent:" + password},
		token:             {token}, // as an API key
		"sid=" + token:    {token}, // as a cookie
	} {
		var m credentials.Masker
		m.AddRequest(http.Header{"X-Any": {header}, "Content-Type": {"application/json"}})
		for desc, echo := range echoes {
			for _, secret := range secrets {
				got := m.Text("We got 0: "+echo(secret)+" (sorry)", 4096)
				requireHidden(t, secret, got, desc)
				assert.Contains(t, got, credentials.Mask, desc)
				assert.True(t, strings.HasPrefix(got, "We got 0: "), "%s: %s", desc, got)
				assert.True(t, strings.HasSuffix(got, " (sorry)"), "%s: %s", desc, got)
			}
		}
	}
}

// Texts of a credential cut at any byte, around any noise.
func TestPartsOfCredentialsAreMasked(t *testing.T) {
	var m credentials.Masker
	m.Add(token)
	for range 2000 {
		from := rand.IntN(len(token))
		to := from + rand.IntN(len(token)-from+1)
		text := strings.Repeat("?", rand.IntN(5)) + token[from:to] + strings.Repeat("=", rand.IntN(5))
		requireHidden(t, token, m.Text(text, 4096), "a part")
	}
	long := strings.Repeat("?", 64<<10-20) + token
	requireHidden(t, token, m.Text(long, 1<<20), "where the text is cut")
}

func TestShortCredentialsAreMasked(t *testing.T) {
	var m credentials.Masker
	m.Add("s3cret+/ %")
	m.Add("pwd!")
	m.Add("abc") // no secret
	assert.Equal(t, "the secret [masked] or [masked], [masked] and abc", m.Text("the secret s3cret+/ % or S3CRET+/ %, pwd! and abc", 100))
}

func TestOrdinaryTextIsNotMasked(t *testing.T) {
	var m credentials.Masker
	m.AddRequest(http.Header{"Authorization": {"Bearer " + token}, "X-Tenant": {"acme-payments"}, "User-Agent": {"otelcol-zastava/0.1.0"}, "Content-Type": {"application/json"}}, "x-tenant")
	for _, text := range []string{
		"", "The batch is not valid; events[0].event.kind is required", "application/json of otelcol-zastava/0.1.0 for acme-payments",
		`<h1>Bad gateway</h1> 100% & more \ "quoted" é 世界`, "&#; &#x; %zz %4 \\u12 \\", "Authorization: Bearer",
	} {
		assert.Equal(t, text, m.Text(text, 4096))
	}
	assert.Equal(t, "a b c", new(credentials.Masker).Text("a\x1bb\u202ec", 100), "what a terminal obeys is not shown")
	assert.Equal(t, "é", new(credentials.Masker).Text("éé", 3))
}

func TestPasswordOfURLIsMasked(t *testing.T) {
	var m credentials.Masker
	m.AddUser(nil)
	m.AddUser(&url.URL{})
	m.AddUser(&url.URL{User: url.UserPassword("agent", password)})
	requireHidden(t, password, m.Text(base64.StdEncoding.EncodeToString([]byte("agent:"+password))+" "+password, 999), "password")
}

func TestRecentCredentialsAreBounded(t *testing.T) {
	var m credentials.Masker
	m.Add(token)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 500 {
				m.AddRequest(http.Header{"Authorization": {fmt.Sprintf("Bearer %d-rotating-token-%d", worker, i)}})
				_ = m.Text("0-rotating-token-0", 100)
			}
		})
	}
	wg.Wait()
	m.AddRequest(http.Header{"Authorization": {"Bearer the-latest-of-all"}})
	assert.Equal(t, "[masked] [masked]", m.Text(token+" the-latest-of-all", 100))
}

// A credential that was seen before costs no memory with the next request.
func TestKnownCredentialsDoNotAllocate(t *testing.T) {
	var m credentials.Masker
	header := http.Header{"Authorization": {"Bearer " + token}}
	m.AddRequest(header)
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { m.AddRequest(header) }), 1.0)
}

func FuzzMask(f *testing.F) {
	for _, echo := range echoes {
		f.Add(echo(token), token)
	}
	f.Add(`\\\\\\u`, "&&&&")
	f.Add("&#x110000;&#99999999999;%", "%%%%")
	f.Add(strings.Repeat(`\`, 1000), `\\\\\\\\\`)
	f.Fuzz(func(t *testing.T, text, secret string) {
		oracle.Bound(t, oracle.Parsing(len(text)+len(secret)))
		var m credentials.Masker
		m.Add(secret)
		got := m.Text(text, 1024)
		require.True(t, utf8.ValidString(got))
		require.LessOrEqual(t, len(got), 1024)
		if len(secret) >= 16 && len(secret) < 500 && strings.Contains(text, secret) && strings.Trim(secret, "abcdefghijklmnopqrstuvwxyz0123456789") == "" && len(text) < 60<<10 {
			require.NotContains(t, got, secret)
		}
	})
}
