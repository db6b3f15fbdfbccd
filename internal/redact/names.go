// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"slices"
	"strings"
	"unicode"
)

// In the name of a flag, variable, header or field the last word says what its value is: a cookie-secret is a secret, a secret-name is a
// name. So the last word decides first, then what is before it.

// secretParts mark the name of a secret anywhere in it, unless the last word is plain.
var secretParts = []string{
	"password", "passwd", "passphrase", "passcode", "secret", "token", "apikey", "accesskey", "privatekey", "accountkey",
	"credential", "authorization", "authkey", "signingkey", "encryptionkey", "masterkey", "sharedkey", "licensekey", "masterauth",
	"secretkey", "integrationkey", "deploykey", "servicekey", "appkey", "encryptkey",
}

// secretWords mark it only as the last word, or before a qualifier: --pass, not --pass-through; --auth, not --auth-mode.
var secretWords = words(`pass pwd pw passw auth cred creds cookie cookies jwt bearer sig signature sas otp totp pin mnemonic dsn key psk
	session sessionid nonce pat oauth hmac salt authtoken passwort psw pswd webhook phpsessid jsessionid sid`)

// qualifiers are last words that do not say what the value is: they are skipped.
var qualifiers = words(`value data string text hex base64 b64 base raw prod production dev staging test old new current previous
	admin root app db main default ro rw override content a b c 0 1 2 3 4 5 6 7 8 9 v1 v2 v3 v4`)

// secretEndings mark it at the end of a word: --dbpass, --storepass, --bindpw.
var secretEndings = []string{"pass", "pwd", "pw"}

// plainEndings are words with a secret ending that mark no secret.
var plainEndings = words("bypass askpass compass encompass multipass singlepass onepass trespass overpass underpass")

// plainKeys are words before a key that is not a secret: --sort-key, --public-key.
var plainKeys = words(`public sort primary partition foreign routing order group cache idempotency message object row index lookup shard
	registry range map unique log metric label tag config json query dedup deduplication bucket kms param field attribute item topic
	hash composite cluster distribution host recv trusted pub join column hot`)

// plainWords are the last words of names that describe a secret, such as its file, and are not one.
var plainWords = words(`file files path paths dir directory folder url uri urls uris endpoint endpoints ttl timeout name names length len size type types
	algorithm algorithms alg alg store stores format method methods mode policy policies enabled disabled audience audiences domain domains
	issuer issuers version versions duration expiry expiration expires lifetime age max min interval period days hours minutes seconds
	provider providers source sources helper manager class classes header headers prefix suffix pattern regex regexp location env
	variable count counts limit limits number bits bytes required optional rotation request requests ref refs reference references arn
	namespace namespaces scope scopes claim claims hint prompt stdin fd server servers host hosts port addr address service services validator
	validation encoding grant strength cost rounds iterations change reset check checks rule rules refresh renew renewal update auto
	review reviewer webhook webhooks authenticator authenticators engine backend backends plugin plugins driver column field fields attribute
	secure httponly samesite memory dim padding mask dimension window budget usage per rate price id ids handler cmd command index ring
	configuration config settings options option params region zone role roles user users username cert certs certificate certificates
	ca keytab exists only label labels status state level hash hashing family group groups pair serializer deserializer filter loader
	factory mapper resolver converter manifest context kind list verify verification callback cleanup lookup generator template script
	encryption keyalg validity skew leeway strategy expire ordering delimiter separator charset alphabet schema registry topic queue interceptor pool sync mount dataset table bucket threshold pruning dropout embedding embeddings budget enable supported challenge`)

// plainNames are names that would mark a secret and do not.
var plainNames = words(`pull-secrets pull-secret existing-secret image-pull-secrets password-reset next-token continuation-token page-token
	start-token max-tokens eos-token bos-token pad-token unk-token mask-token sep-token cls-token stop-token special-token
	special-tokens new-tokens num-tokens batched-tokens output-tokens input-tokens completion-tokens prompt-tokens total-tokens
	session-cookies load-cookies save-cookies cookies-jar client-token resume-token starting-token sync-token two-pass single-pass
	first-pass second-pass multi-pass render-pass idempotency-token client-request-token fencing-token page-session
	minimum-pass dot-key arrow-key no-auth client-auth cert-auth tls-auth kube-auth`)

// refusals are the first words of flags without a secret value: --no-password, --skip-token.
var refusals = words("no skip disable without enable allow require use force keep ask prompt generate show hide print get list with requires is has")

// secretName reports whether a flag, variable, header or field of that name contains a secret.
func secretName(name string) bool {
	if !mayBeSecret(name) {
		return false
	}
	words := split(name)
	if notSecret(words) {
		return false
	}
	for n := len(words); n > 1 && qualifiers[words[n-1]]; n-- {
		words = words[:n-1]
	}
	if len(words) == 0 {
		return false
	}
	last, before := words[len(words)-1], ""
	if len(words) > 1 {
		before = words[len(words)-2]
	}
	switch {
	case last == "id" && (before == "secret" || before == "session"):
		return true // secret_id is of Vault's AppRole
	case plainWords[last], last == "key" && plainKeys[before]:
		return false
	}
	return secretWords[last] || endsSecret(last) || hasSecretPart(words)
}

// notSecret reports whether words make no name of a secret, although the last one may be the name of one.
func notSecret(words []string) bool {
	n := len(words)
	return n > 1 && (refusals[words[0]] || plainNames[words[n-2]+"-"+words[n-1]])
}

// hasSecretPart reports whether words that belong together mark a secret: api and key, password.
func hasSecretPart(words []string) bool {
	for i, word := range words {
		if strings.HasPrefix(word, "tokeniz") || word == "secretless" || strings.HasPrefix(word, "passwordless") {
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

// mayBeSecret reports whether a name has the letters of any secret name. It is far cheaper than to split the name.
func mayBeSecret(name string) bool {
	for i := range len(name) {
		c := name[i] | 0x20
		if c >= 0x80 {
			return true
		}
		if c < 'a' || c > 'z' {
			continue
		}
		for _, start := range secretStarts[c-'a'] {
			if len(name)-i >= len(start) && strings.EqualFold(name[i:i+len(start)], start) {
				return true
			}
		}
	}
	return false
}

// secretStarts are the letters, by the first one, that one of the words and parts above begins with.
var secretStarts = func() (all [26][]string) {
	add := func(word string) {
		all[word[0]-'a'] = append(all[word[0]-'a'], word)
	}
	for _, word := range secretParts {
		if !slices.ContainsFunc([]string{"key", "auth"}, func(part string) bool { return strings.Contains(word, part) }) {
			add(word)
		}
	}
	for word := range secretWords {
		add(word)
	}
	return all
}()

func endsSecret(word string) bool {
	return !plainEndings[word] && slices.ContainsFunc(secretEndings, func(end string) bool { return strings.HasSuffix(word, end) })
}

// split returns the words of a name in lower case: dbPassword, db-password, DB_PASSWORD and db.password all have two.
func split(name string) []string {
	words := make([]string, 0, 4)
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
