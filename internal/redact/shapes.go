// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"regexp"
	"strings"
)

// pemBlock is one block or its beginning: arguments are cut at a maximum length, and a part of a key must be masked too.
var pemBlock = regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]{1,64}-----.*?(?:-----END [A-Z0-9 ]{1,64}-----|$)`)

// shape is an expression and the substrings of which a matching text contains at least one. The search for them is far cheaper.
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

// keyShapes are the forms of keys that issuers publish so that keys can be found. Lengths are lower bounds because issuers have changed
// them.
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
	shapeOf(`\bglsa_[A-Za-z0-9_]{16,}|\bglc_[A-Za-z0-9+/=_-]{16,}|\bdapi[a-f0-9]{32,}|\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{16,}|\bsq0[a-z]{3}-[A-Za-z0-9_-]{16,}`,
		"glsa_", "glc_", "dapi", "shp", "sq0"), // Grafana, Databricks, Shopify, Square
	shapeOf(`\bATATT3[A-Za-z0-9_=-]{16,}|\bNRAK-[A-Z0-9]{16,}|\bsntry[su]_[A-Za-z0-9_=+/-]{16,}|\btskey-[A-Za-z0-9-]{12,}|\brubygems_[a-f0-9]{16,}`,
		"ATATT3", "NRAK-", "sntry", "tskey-", "rubygems_"), // Atlassian, New Relic, Sentry, Tailscale
	shapeOf(`\bdp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9.]{16,}|\bpscale_[a-z]+_[A-Za-z0-9._-]{16,}|\bpul-[a-f0-9]{32,}|[A-Za-z0-9]{8,}\.atlasv1\.[A-Za-z0-9_=-]{16,}`,
		"dp.", "pscale_", "pul-", ".atlasv1."), // Doppler, PlanetScale, Pulumi, HCP Terraform
	shapeOf(`\bgsk_[A-Za-z0-9]{16,}|\bxai-[A-Za-z0-9]{16,}|\br8_[A-Za-z0-9]{16,}|\bpplx-[A-Za-z0-9]{16,}|\bntn_[A-Za-z0-9]{16,}|\blin_api_[A-Za-z0-9]{16,}`,
		"gsk_", "xai-", "r8_", "pplx-", "ntn_", "lin_api_"), // Groq, xAI, Replicate, Perplexity, Notion, Linear
	shapeOf(`discord(?:app)?\.com/api/webhooks/[0-9]+/[A-Za-z0-9_-]+|\.webhook\.office\.com/[A-Za-z0-9@/_-]+`,
		"/api/webhooks/", ".webhook.office.com/"), // Discord, Teams
	shapeOf(`\bAGE-SECRET-KEY-1[A-Z0-9]{20,}`, "AGE-SECRET-KEY-1"),
	shapeOf(`\b[0-9]{8,10}:AA[A-Za-z0-9_-]{30,}`, ":AA"), // Telegram bots
}

// authScheme is an HTTP credential (RFC 9110 section 11) anywhere in a text.
var authScheme = regexp.MustCompile(`(?i)\b(?:bearer|basic|dpop|negotiate|digest)[ \t]+([A-Za-z0-9._~+/=*-]+)`)

// userPassword is user:password@somewhere without a scheme, as in Go's MySQL data source names.
var userPassword = regexp.MustCompile(`[A-Za-z0-9_.%+-]+:([^\s:@'"/]+)@([A-Za-z0-9_.(\[-]+)`)

// networkPassword is the password in a Go data source name. It may contain any character: me:p/a@ss@tcp(db:3306)/shop.
var networkPassword = regexp.MustCompile(`[A-Za-z0-9_.%+-]+:([^\s"']+)@(?:tcp|tcp6|unix)\(`)

// oraclePassword is the password in jdbc:oracle:thin:scott/tiger@//db:1521/shop.
var oraclePassword = regexp.MustCompile(`oracle:[a-z0-9]+:[^\s/"']*/([^\s"']+)@`)

// maskConnectionStrings masks the password of user:password@host. An image reference, name:tag@sha256:…, has the same form and is kept.
func maskConnectionStrings(s string) string {
	s = replaceGroup(replaceGroup(s, networkPassword, 1), oraclePassword, 1)
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

// maskURLs masks the userinfo (RFC 3986 section 3.2.1) of each URL, including the user, which is often a token. Passwords are often
// written with an unescaped / or @, so after a colon that does not start a port the last @ ends the userinfo.
func maskURLs(s string) string {
	var b strings.Builder
	at := 0
	for _, match := range urlStart.FindAllStringIndex(s, -1) {
		from := match[1]
		if from < at {
			continue // in the userinfo of the previous URL
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
