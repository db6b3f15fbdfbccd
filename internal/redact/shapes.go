// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"regexp"
	"strings"
)

// pemBlock is one block, or what there is of it: arguments are cut at a bound, and half a key is a key.
var pemBlock = regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]{1,64}-----.*?(?:-----END [A-Z0-9 ]{1,64}-----|$)`)

// shape is an expression and what must stand in a text for it to match at all: looking for that is far cheaper.
type shape struct {
	has        []string
	expression *regexp.Regexp
}

func shapeOf(expression string, has ...string) shape {
	return shape{has: has, expression: regexp.MustCompile(expression)}
}

func (p shape) possible(s string) bool {
	for _, has := range p.has {
		if strings.Contains(s, has) {
			return true
		}
	}
	return false
}

// keyShapes are what issuers gave their keys so that they can be found. Each follows the issuer's published prefix; lengths are
// lower bounds, as issuers have changed them.
var keyShapes = []shape{
	shapeOf(`\b(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA|AGPA|ANPA|ANVA|APKA)[A-Z0-9]{12,}\b`,
		"AKIA", "ASIA", "ABIA", "ACCA", "AROA", "AIDA", "AGPA", "ANPA", "ANVA", "APKA"), // AWS
	shapeOf(`\b(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,})`, "gh"),                                         // GitHub
	shapeOf(`\bgl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat|ffct|oas)-[A-Za-z0-9_.-]{16,}`, "gl"),                              // GitLab
	shapeOf(`\bxox[a-z]-[A-Za-z0-9-]{8,}|\bxapp-[A-Za-z0-9-]{8,}|\bxoxe\.xox[a-z]-[A-Za-z0-9-]{8,}`, "xox", "xapp-"),       // Slack
	shapeOf(`hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]+`, "hooks.slack.com/"),                       // Slack
	shapeOf(`\b(?:sk|rk|pk|whsec)_(?:live_|test_)?[A-Za-z0-9]{16,}`, "sk_", "rk_", "pk_", "whsec_"),                        // Stripe
	shapeOf(`\bAIza[A-Za-z0-9_-]{30,}|\bya29\.[A-Za-z0-9_-]{16,}|\bGOCSPX-[A-Za-z0-9_-]{16,}`, "AIza", "ya29.", "GOCSPX-"), // Google
	shapeOf(`\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)*`, "eyJ"),                                       // JWT, JWE (RFC 7519)
	shapeOf(`\bsk-[A-Za-z0-9_-]{16,}`, "sk-"),                                                                              // OpenAI, Anthropic
	shapeOf(`\bnpm_[A-Za-z0-9]{30,}|\bpypi-[A-Za-z0-9_-]{30,}|\bdckr_pat_[A-Za-z0-9_-]{16,}`, "npm_", "pypi-", "dckr_pat_"),
	shapeOf(`\bhv[sbr]\.[A-Za-z0-9_-]{16,}`, "hvs.", "hvb.", "hvr."), // Vault
	shapeOf(`\bdo[opr]_v1_[a-f0-9]{32,}|\bhf_[A-Za-z0-9]{24,}|\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}`, "_v1_", "hf_", "SG."),
	shapeOf(`\bAGE-SECRET-KEY-1[A-Z0-9]{20,}`, "AGE-SECRET-KEY-1"),
	shapeOf(`\b[0-9]{8,10}:AA[A-Za-z0-9_-]{30,}`, ":AA"), // Telegram bots
}

// authScheme is an HTTP credential (RFC 9110 section 11) wherever it stands.
var authScheme = regexp.MustCompile(`(?i)\b(?:bearer|basic|dpop|negotiate|digest)[ \t]+([A-Za-z0-9._~+/=*-]+)`)

// userPassword is user:password@somewhere without a scheme, as in Go's MySQL data source names.
var userPassword = regexp.MustCompile(`[A-Za-z0-9_.%+-]+:([^\s:@'"/]+)@([A-Za-z0-9_.(\[-]+)`)

// maskConnectionStrings masks the password of user:password@host. An image reference, name:tag@sha256:…, has the same shape.
func maskConnectionStrings(s string) string {
	var b strings.Builder
	at := 0
	for _, match := range userPassword.FindAllStringSubmatchIndex(s, -1) {
		if host := s[match[4]:match[5]]; host == "sha256" || host == "sha512" {
			continue
		}
		b.WriteString(s[at:match[2]])
		b.WriteString(hide(s[match[2]:match[3]]))
		at = match[3]
	}
	b.WriteString(s[at:])
	return b.String()
}

var (
	urlStart = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://`)
	port     = regexp.MustCompile(`^[^:@]*:[0-9]{1,5}(?:[/?#]|$)`)
)

// maskURLs masks the userinfo (RFC 3986 section 3.2.1) of each URL, user and all: a token is often given as the user. People
// write passwords with / and @ in them unescaped, so where there is a colon that starts no port, the last @ ends the userinfo.
func maskURLs(s string) string {
	var b strings.Builder
	at := 0
	for _, match := range urlStart.FindAllStringIndex(s, -1) {
		from := match[1]
		if from < at {
			continue // within the userinfo of the one before
		}
		rest := s[from:]
		if end := strings.IndexAny(rest, " \t\r\n\"'<>`"); end >= 0 {
			rest = rest[:end]
		}
		authority := rest
		if end := strings.IndexAny(rest, "/?#"); end >= 0 {
			authority = rest[:end]
		}
		last := strings.LastIndexByte(authority, '@')
		if last < 0 && strings.Contains(authority, ":") && !port.MatchString(rest) {
			last = strings.LastIndexByte(rest, '@')
		}
		if last <= 0 {
			continue
		}
		b.WriteString(s[at:from])
		b.WriteString(hide(rest[:last]))
		at = from + last
	}
	b.WriteString(s[at:])
	return b.String()
}
