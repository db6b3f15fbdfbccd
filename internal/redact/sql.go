// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"regexp"
	"strings"
)

// phrase is a line of the table of phrases in SQL and other languages after which there is a secret.
type phrase struct {
	expression string // in lower case; the secret begins where it ends
	has        string // a word of it, which a text that matches contains
	quoted     bool   // the secret is in quotes only
	secret     string
	plain      string
}

var phraseTable = []phrase{
	{
		`\bidentified\s+(?:(?:with|via)\s+[\w"'\x60]+\s+)?(?:by|as|using)\s+(?:password\s+|values\s+)?(?:password\s*\(\s*)?`, "identified", false,
		"ALTER USER a IDENTIFIED BY «hunter2»", "the user was identified",
	},
	{`\bpassword(?:\s+|\s*\(\s*)[ne]?`, "password", true, "ALTER ROLE a PASSWORD '«hunter2»'", "ALTER ROLE a PASSWORD NULL"},
	{
		`\bset\s+password\b[^=;]{0,96}=\s*[ne]?(?:(?:old_)?password\s*\(\s*)?`, "password", true,
		"SET PASSWORD FOR 'a'@'%' = '«hunter2»'", "SET PASSWORD_LENGTH = 8",
	},
	{
		`\b(?:pgp_sym_(?:en|de)crypt(?:_bytea)?|aes_(?:en|de)crypt|encryptbypassphrase|decryptbypassphrase|hmac)\s*\([^,()]{1,256},\s*`, "crypt", true,
		"SELECT pgp_sym_encrypt('x', '«hunter2»')", "SELECT encrypt('x', 'y')",
	},
	{
		`\b(?:auth|changeuserpassword|resetpassword)\s*\(\s*\\*["'][^"'\\]{0,96}\\*["']\s*,\s*`, "(", true,
		`db.auth("u", "«hunter2»")`, `db.find("u", "name")`,
	},
	{`\bpragma\s+(?:re)?key\s*=\s*[x]?`, "pragma", true, "PRAGMA key = '«hunter2»'", "PRAGMA key_size"},
	{`\bencryption\s+by\s+password\s*=\s*n?`, "encryption", true, "ENCRYPTION BY PASSWORD = '«hunter2»'", "ENCRYPTION BY CERTIFICATE c"},
}

var phrases = func() []struct {
	phrase
	compiled *regexp.Regexp
} {
	all := make([]struct {
		phrase
		compiled *regexp.Regexp
	}, len(phraseTable))
	for i, p := range phraseTable {
		all[i].phrase = p
		all[i].compiled = regexp.MustCompile("(?i)" + p.expression)
	}
	return all
}()

// maskPhrases masks what is after the phrases of the table.
func maskPhrases(s string) string {
	lower := strings.ToLower(s)
	for _, p := range phrases {
		if !strings.Contains(lower, p.has) {
			continue
		}
		var b strings.Builder
		at := 0
		for _, match := range p.compiled.FindAllStringIndex(s, -1) {
			from := match[1]
			if from < at || from == len(s) {
				continue
			}
			length := secretLength(s[from:], p.quoted)
			b.WriteString(s[at:from])
			if secret := s[from : from+length]; plainValue(strings.Trim(secret, "\"'\\")) {
				b.WriteString(secret)
			} else {
				b.WriteString(hideKeeping(secret))
			}
			at = from + length
		}
		b.WriteString(s[at:])
		s = b.String()
	}
	return s
}

// secretLength returns the length of the secret at the start of s, with its quotes.
func secretLength(s string, quotes bool) int {
	if n := shellQuoted(s); n > 0 {
		return n
	}
	bare := strings.TrimLeft(s, `\`)
	if bare != "" && (bare[0] == '"' || bare[0] == '\'' || bare[0] == '`') {
		quote := s[:len(s)-len(bare)+1]
		if n := quotedLength(s, quote); n > 2*len(quote) && strings.HasSuffix(s[:n], quote) {
			return n
		}
		return 0
	}
	if quotes {
		return 0
	}
	if length := lengthUntil(s, " \t\r\n;,)\"'`\\"); !plainValue(s[:length]) && !strings.EqualFold(s[:length], "random") {
		return length
	}
	return 0
}
