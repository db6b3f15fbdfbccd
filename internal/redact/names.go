// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"slices"
	"strings"
	"unicode"
)

// secretParts mark the name of a secret anywhere in it.
var secretParts = []string{
	"password", "passwd", "passphrase", "passcode", "secret", "token", "apikey", "accesskey", "privatekey", "accountkey",
	"credential", "authorization", "authkey", "signingkey", "encryptionkey", "masterkey", "sharedkey", "licensekey", "masterauth",
}

// secretWords mark it only as a separate word of the name: --pass, not --passive; --auth, not --author.
var secretWords = map[string]bool{
	"pass": true, "pwd": true, "pw": true, "passw": true, "auth": true, "cred": true, "creds": true, "cookie": true, "jwt": true,
	"bearer": true, "sig": true, "signature": true, "sas": true, "otp": true, "totp": true, "pin": true, "mnemonic": true,
	"dsn": true, "key": true, "psk": true, "session": true, "sessionid": true, "nonce": true, "pat": true,
	"oauth": true, "hmac": true, "salt": true, "authtoken": true,
}

// secretEndings mark it at the end of a word: --dbpass, --storepass, --bindpw.
var secretEndings = []string{"pass", "pwd", "pw"}

// plainEndings are words with a secret ending that mark no secret.
var plainEndings = map[string]bool{"bypass": true, "compass": true, "encompass": true, "multipass": true, "singlepass": true, "onepass": true}

// plainKeys are words before a key that is not a secret: --sort-key, --public-key.
var plainKeys = map[string]bool{
	"public": true, "sort": true, "primary": true, "partition": true, "foreign": true, "routing": true, "order": true, "group": true,
}

// counts are the first words of the name of a number of tokens, as language models have them.
var counts = map[string]bool{"max": true, "min": true, "num": true, "n": true}

// plainWords are the last words of names that describe a secret, such as its file, and are not one.
var plainWords = map[string]bool{
	"file": true, "files": true, "path": true, "dir": true, "directory": true, "url": true, "uri": true, "endpoint": true,
	"ttl": true, "timeout": true, "name": true, "names": true, "length": true, "size": true, "type": true, "algorithm": true,
	"alg": true, "store": true, "format": true, "method": true, "mode": true, "policy": true, "enabled": true,
}

// refusals are the first words of flags without a secret value: --no-password, --skip-token.
var refusals = map[string]bool{"no": true, "skip": true, "disable": true, "without": true, "enable": true}

// secretName reports whether a flag, variable, header or field of that name contains a secret.
func secretName(name string) bool {
	words := split(name)
	if len(words) == 0 || plainWords[words[len(words)-1]] {
		return false
	}
	if last := words[len(words)-1]; counts[words[0]] && last == "tokens" || last == "key" && len(words) > 1 && plainKeys[words[len(words)-2]] {
		return false
	}
	for i, word := range words {
		if secretWords[word] || endsSecret(word) {
			return true
		}
		if strings.HasPrefix(word, "tokeniz") {
			words[i] = ""
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

func endsSecret(word string) bool {
	return !plainEndings[word] && slices.ContainsFunc(secretEndings, func(end string) bool { return strings.HasSuffix(word, end) })
}

// split returns the words of a name in lower case: dbPassword, db-password, DB_PASSWORD and db.password all have two.
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
