// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"strings"
	"unicode"
)

// secretParts are what makes a name that of a secret wherever they stand in it.
var secretParts = []string{
	"password", "passwd", "passphrase", "passcode", "secret", "token", "apikey", "accesskey", "privatekey", "accountkey",
	"credential", "authorization", "authkey", "signingkey", "encryptionkey", "masterkey", "sharedkey",
}

// secretWords do so only as a word of the name of their own: --pass, not --passive; --auth, not --author.
var secretWords = map[string]bool{
	"pass": true, "pwd": true, "pw": true, "passw": true, "auth": true, "cred": true, "creds": true, "cookie": true, "jwt": true,
	"bearer": true, "sig": true, "signature": true, "sas": true, "otp": true, "totp": true, "pin": true, "mnemonic": true,
	"dsn": true, "key": true, "psk": true, "session": true, "sessionid": true, "nonce": true, "pat": true,
}

// plainWords end a name that says where a secret is, or something about it, and is none.
var plainWords = map[string]bool{
	"file": true, "files": true, "path": true, "dir": true, "directory": true, "url": true, "uri": true, "endpoint": true,
	"ttl": true, "timeout": true, "name": true, "names": true, "length": true, "size": true, "type": true, "algorithm": true,
	"alg": true, "store": true, "format": true, "method": true, "mode": true, "policy": true, "enabled": true,
}

// refusals start the name of a flag that takes no secret after it: --no-password, --skip-token.
var refusals = map[string]bool{"no": true, "skip": true, "disable": true, "without": true, "enable": true}

// secretName says whether a flag, variable, header or field of that name holds a secret.
func secretName(name string) bool {
	words := split(name)
	if len(words) == 0 || plainWords[words[len(words)-1]] {
		return false
	}
	for _, word := range words {
		if secretWords[word] {
			return true
		}
	}
	joined := strings.Join(words, "")
	for _, part := range secretParts {
		if strings.Contains(joined, part) {
			return true
		}
	}
	return false
}

// split gives the words of a name in lower case: dbPassword, db-password, DB_PASSWORD and db.password all have two.
func split(name string) []string {
	var words []string
	start := 0
	cut := func(end int) {
		if end > start {
			words = append(words, strings.ToLower(name[start:end]))
		}
	}
	var previous rune
	for i, c := range name {
		switch {
		case !unicode.IsLetter(c) && !unicode.IsDigit(c):
			cut(i)
			start = i + len(string(c))
		case unicode.IsUpper(c) && unicode.IsLower(previous):
			cut(i)
			start = i
		}
		previous = c
	}
	if start <= len(name) {
		cut(len(name))
	}
	return words
}
