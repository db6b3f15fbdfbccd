// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode"
)

const (
	// Mask replaces a credential.
	Mask = "[masked]"

	maxRecent     = 32       // credentials that requests carried: a token that was just renewed may still come back
	maxSecret     = 16 << 10 // bytes of one credential that are searched for; servers refuse longer headers
	maxMasked     = 64 << 10 // bytes of a text that are masked; what follows is cut
	gram          = 8        // letters and digits in a row that are masked wherever they occur
	shortestWhole = 4        // a shorter credential protects nothing, and would mask ordinary words
)

// harmless are headers whose values are no credentials. Everything else that a request carries is masked, whatever set it.
var harmless = map[string]bool{
	"Accept": true, "Accept-Encoding": true, "Connection": true, "Content-Encoding": true, "Content-Length": true, "Content-Type": true, "Host": true,
	"Idempotency-Key": true, "Traceparent": true, "Tracestate": true, "User-Agent": true,
}

// Masker masks the credentials of a client. Several goroutines may use it. The zero value masks nothing.
type Masker struct {
	mu     sync.RWMutex
	fixed  []*pattern // as many as are configured
	recent []*pattern // at most maxRecent, the latest last
}

// Add has a configured credential masked.
func (m *Masker) Add(secret string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := newPattern(secret); p != nil && !slices.ContainsFunc(m.fixed, p.is) {
		m.fixed = append(m.fixed, p)
	}
}

// AddUser has the password of a URL masked, and the header that a client makes of user and password.
func (m *Masker) AddUser(u *url.URL) {
	if u == nil || u.User == nil {
		return
	}
	password, _ := u.User.Password()
	m.Add(password)
	m.Add("Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password)))
}

// AddRequest has the credentials in the headers of a request masked, except headers that except names.
func (m *Masker) AddRequest(header http.Header, except ...string) {
	for name, values := range header {
		if harmless[name] || slices.ContainsFunc(except, func(e string) bool { return strings.EqualFold(e, name) }) {
			continue
		}
		for _, value := range values {
			m.AddRecent(value)
		}
	}
}

// AddRecent has a credential masked that may be replaced by another. Only the latest are kept.
func (m *Masker) AddRecent(secret string) {
	is := func(p *pattern) bool { return p.secret == secret }
	m.mu.RLock()
	known := slices.ContainsFunc(m.fixed, is) || slices.ContainsFunc(m.recent, is)
	m.mu.RUnlock()
	if known {
		return
	}
	p := newPattern(secret)
	if p == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.ContainsFunc(m.recent, p.is) {
		return
	}
	if len(m.recent) == maxRecent {
		m.recent = slices.Delete(m.recent, 0, 1)
	}
	m.recent = append(m.recent, p)
}

// Text returns text, which a server chose, with the credentials masked. It replaces control characters and characters that reverse or
// hide others by spaces, and is cut to at most most bytes.
func (m *Masker) Text(text string, most int) string {
	cut := len(text) > maxMasked
	text = text[:min(len(text), maxMasked)]
	m.mu.RLock()
	patterns := slices.Concat(m.fixed, m.recent)
	m.mu.RUnlock()
	if len(patterns) > 0 && text != "" {
		text = mask(text, patterns, cut)
	}
	text = strings.Map(printable, text)
	if len(text) > most {
		text = text[:most]
	}
	return strings.ToValidUTF8(text, "")
}

// printable drops what a terminal or browser would not show as a character of its own.
func printable(r rune) rune {
	switch {
	case r == '\n', r == '\t':
		return r
	case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp):
		return ' '
	}
	return r
}

// mask replaces every range of text that stands for a part of a credential. A text that was cut may end within one.
func mask(text string, patterns []*pattern, cut bool) string {
	cells := decode(text)
	masked := make([]bool, len(cells))
	letters, where := fold(cells)
	for _, p := range patterns {
		p.mark(cells, letters, where, masked)
	}
	if cut { // less than a gram of a credential may remain
		for i := max(0, len(where)-gram); i < len(where); i++ {
			masked[where[i]] = true
		}
	}
	var out strings.Builder
	last := 0
	for i := 0; i < len(cells); i++ {
		if !masked[i] {
			continue
		}
		out.WriteString(text[last:cells[i].from])
		out.WriteString(Mask)
		for i+1 < len(cells) && masked[i+1] {
			i++
		}
		last = cells[i].to
	}
	out.WriteString(text[last:])
	return out.String()
}

// fold returns the letters and digits of cells in lower case, and where they are.
func fold(cells []cell) (letters []byte, where []int) {
	letters, where = make([]byte, 0, len(cells)), make([]int, 0, len(cells))
	for i, c := range cells {
		if b := lower(c.b); b != 0 {
			letters, where = append(letters, b), append(where, i)
		}
	}
	return letters, where
}

// lower returns a letter in lower case or a digit, and 0 for any other byte.
func lower(b byte) byte {
	switch {
	case b >= 'a' && b <= 'z', b >= '0' && b <= '9':
		return b
	case b >= 'A' && b <= 'Z':
		return b + 'a' - 'A'
	}
	return 0
}

// pattern is what is searched for one credential.
type pattern struct {
	secret string // as it was added
	whole  []string
	grams  func() map[[gram]byte]struct{} // computed when first needed: most answers quote nothing
}

func (p *pattern) is(other *pattern) bool { return p.secret == other.secret }

// newPattern returns nil for a credential that is too short to be one.
func newPattern(secret string) *pattern {
	if len(strings.TrimSpace(secret)) < shortestWhole {
		return nil
	}
	p := &pattern{secret: secret}
	forms := formsOf(strings.TrimSpace(secret[:min(len(secret), maxSecret)]))
	for _, form := range forms {
		if len(lettersOf(form)) < 2*gram && len(form) >= shortestWhole {
			p.whole = append(p.whole, strings.ToLower(form))
		}
	}
	p.grams = sync.OnceValue(func() map[[gram]byte]struct{} { return gramsOf(forms) })
	return p
}

// mark marks the cells that belong to the credential.
func (p *pattern) mark(cells []cell, letters []byte, where []int, masked []bool) {
	grams := p.grams()
	var window [gram]byte
	for i := 0; i+gram <= len(letters); i++ {
		copy(window[:], letters[i:])
		if _, found := grams[window]; !found {
			continue
		}
		for j := where[i]; j <= where[i+gram-1]; j++ {
			masked[j] = true
		}
	}
	if len(p.whole) == 0 {
		return
	}
	plain := make([]byte, len(cells))
	for i, c := range cells {
		plain[i] = c.b
	}
	text := asciiLower(plain)
	for _, form := range p.whole {
		for at := 0; ; {
			i := strings.Index(text[at:], form)
			if i < 0 {
				break
			}
			for j := at + i; j < at+i+len(form); j++ {
				masked[j] = true
			}
			at += i + len(form)
		}
	}
}

// asciiLower keeps the number of bytes, which strings.ToLower does not.
func asciiLower(text []byte) string {
	for i, b := range text {
		if l := lower(b); l != 0 {
			text[i] = l
		}
	}
	return string(text)
}

func lettersOf(s string) []byte {
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		if b := lower(s[i]); b != 0 {
			out = append(out, b)
		}
	}
	return out
}

// formsOf returns a credential without its scheme, the parts of Basic credentials, and the encodings of each.
func formsOf(secret string) []string {
	bare := secret
	if scheme, rest, found := strings.Cut(secret, " "); found && isScheme(scheme) && len(rest) >= shortestWhole {
		bare = strings.TrimSpace(rest)
		if strings.EqualFold(scheme, "Basic") {
			if raw, err := base64.StdEncoding.DecodeString(bare); err == nil {
				_, password, _ := strings.Cut(string(raw), ":")
				return slices.Concat(encodingsOf(bare), encodingsOf(string(raw)), encodingsOf(password))
			}
		}
	}
	return encodingsOf(bare)
}

// isScheme reports whether s may be an authentication scheme (RFC 9110 section 11.1): letters only.
func isScheme(s string) bool {
	return len(s) <= len("Negotiate") && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) })
}

// encodingsOf returns s as it is, in hexadecimal digits, and in base64 at each of the three alignments that s may have in a longer text.
func encodingsOf(s string) []string {
	if len(s) < shortestWhole {
		return nil
	}
	out := []string{s, hex.EncodeToString([]byte(s))}
	for before := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString(append(make([]byte, before), s...))
		from := (before*8 + 5) / 6      // characters that depend on what is before
		to := (before + len(s)) * 8 / 6 // a last one that depends on what follows is left out
		out = append(out, encoded[from:max(from, to)])
	}
	return out
}

// gramsOf returns every run of gram letters and digits in the forms. A form that is shorter is found as a whole only.
func gramsOf(forms []string) map[[gram]byte]struct{} {
	grams := map[[gram]byte]struct{}{}
	for _, form := range forms {
		letters := lettersOf(form)
		for i := 0; i+gram <= len(letters); i++ {
			grams[[gram]byte(letters[i:])] = struct{}{}
		}
	}
	return grams
}
