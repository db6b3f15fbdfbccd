// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"regexp"
	"strings"
)

// key is a line of the table of keys that have a known form.
type key struct {
	expression string // its first group is secret, or all of it
	has        string // a text that matches contains one of these; searching them is far cheaper
	secret     string // an example; a test replaces ~20~, ~u20~ and ~h20~ by so many letters and digits, capitals, hexadecimal digits
	plain      string // a text that is similar and no secret
}

// keyTable are the forms of keys that issuers publish so that keys can be found. Lengths are lower bounds because issuers have changed
// them.
var keyTable = []key{
	{`\b(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA|AGPA|ANPA|ANVA|APKA)[A-Z0-9]{12,}\b`, "AKIA ASIA ABIA ACCA AROA AIDA AGPA ANPA ANVA APKA", "«AKIA~u16~»", "AKIAX is short"},                        // AWS
	{`\bgh[pousr]_[A-Za-z0-9]{16,}`, "ghp_ gho_ ghu_ ghs_ ghr_", "«ghp_~36~»", "ghp_x"},                                                                                                     // GitHub
	{`\bgithub_pat_[A-Za-z0-9_]{16,}`, "github_pat_", "«github_pat_~22~_~59~»", "github_pat_x"},                                                                                             // GitHub
	{`\bgl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat|ffct|oas)-[A-Za-z0-9_.-]{16,}`, "glpat- gldt- glrt- glcbt- glptt- glft- glimt- glagent- glsoat- glffct- gloas-", "«glpat-~20~»", "glrt-x"}, // GitLab
	{`\bxoxe\.xox[a-z]-[A-Za-z0-9-]{8,}`, "xoxe.", "«xoxe.xoxp-1-~24~»", "xoxe.x"},                                                                                                          // Slack
	{`\bxox[a-z]-[A-Za-z0-9-]{8,}`, "xox", "«xoxb-~24~»", "xox-x"},                                                                                                                          // Slack
	{`\bxapp-[A-Za-z0-9-]{8,}`, "xapp-", "«xapp-1-~24~»", "xapp-x"},                                                                                                                         // Slack
	{`hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]+`, "hooks.slack.com/", "«hooks.slack.com/services/T0/B0/~24~»", "hooks.slack.com/docs"},                              // Slack
	{`\b(?:sk|rk|pk|whsec)_(?:live_|test_)?[A-Za-z0-9]{16,}`, "sk_ rk_ pk_ whsec_", "«sk_live_~24~»", "disk_usage sk_x"},                                                                    // Stripe
	{`\bAIza[A-Za-z0-9_-]{30,}`, "AIza", "«AIza~35~»", "AIzax"},                                                                                                                             // Google
	{`\bya29\.[A-Za-z0-9_-]{16,}`, "ya29.", "«ya29.~40~»", "ya29.x"},                                                                                                                        // Google
	{`\bGOCSPX-[A-Za-z0-9_-]{16,}`, "GOCSPX-", "«GOCSPX-~28~»", "GOCSPX-x"},                                                                                                                 // Google
	{`\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)*`, "eyJ", "«eyJ~20~.~20~.~20~»", "eyJhbGci"},                                                                            // JWT, JWE (RFC 7519)
	{`\bsk-[A-Za-z0-9_-]{16,}`, "sk-", "«sk-~48~»", "disk-usage sk-x"},                                                                                                                      // OpenAI, Anthropic
	{`\bnpm_[A-Za-z0-9]{30,}`, "npm_", "«npm_~36~»", "npm_config_cache"},                                                                                                                    // npm
	{`\bpypi-[A-Za-z0-9_-]{30,}`, "pypi-", "«pypi-~64~»", "pypi-server"},                                                                                                                    // PyPI
	{`\bdckr_pat_[A-Za-z0-9_-]{16,}`, "dckr_pat_", "«dckr_pat_~27~»", "dckr_pat_x"},                                                                                                         // Docker
	{`\bhv[sbr]\.[A-Za-z0-9_-]{16,}`, "hvs. hvb. hvr.", "«hvs.~24~»", "hvs.x"},                                                                                                              // Vault
	{`\bdo[opr]_v1_[a-f0-9]{32,}`, "_v1_", "«dop_v1_~h64~»", "dop_v1_x"},                                                                                                                    // DigitalOcean
	{`\bhf_[A-Za-z0-9]{24,}`, "hf_", "«hf_~34~»", "hf_hub_cache"},                                                                                                                           // Hugging Face
	{`\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}`, "SG.", "«SG.~22~.~43~»", "SG.x"},                                                                                                       // SendGrid
	{`\bglsa_[A-Za-z0-9_]{16,}`, "glsa_", "«glsa_~32~_~h8~»", "glsa_x"},                                                                                                                     // Grafana
	{`\bglc_[A-Za-z0-9+/=_-]{16,}`, "glc_", "«glc_~40~»", "glc_x"},                                                                                                                          // Grafana
	{`\bdapi[a-f0-9]{32,}`, "dapi", "«dapi~h32~»", "dapi"},                                                                                                                                  // Databricks
	{`\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{16,}`, "shpat_ shpca_ shppa_ shpss_", "«shpat_~h32~»", "shpat_x"},                                                                                    // Shopify
	{`\bsq0[a-z]{3}-[A-Za-z0-9_-]{16,}`, "sq0", "«sq0atp-~22~»", "sq0atp-x"},                                                                                                                // Square
	{`\bATATT3[A-Za-z0-9_=-]{16,}`, "ATATT3", "«ATATT3~60~»", "ATATT3"},                                                                                                                     // Atlassian
	{`\bATBB[A-Za-z0-9]{24,}`, "ATBB", "«ATBB~32~»", "ATBB"},                                                                                                                                // Bitbucket
	{`\bNRAK-[A-Z0-9]{16,}`, "NRAK-", "«NRAK-~u27~»", "NRAK-X"},                                                                                                                             // New Relic
	{`\bsntry[su]_[A-Za-z0-9_=+/-]{16,}`, "sntry", "«sntrys_~64~»", "sntrys_x"},                                                                                                             // Sentry
	{`\btskey-[A-Za-z0-9-]{12,}`, "tskey-", "«tskey-auth-~24~»", "tskey-x"},                                                                                                                 // Tailscale
	{`\brubygems_[a-f0-9]{16,}`, "rubygems_", "«rubygems_~h48~»", "rubygems_mirror"},                                                                                                        // RubyGems
	{`\bdp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9.]{16,}`, "dp.", "«dp.pt.~40~»", "dp.pt.x"},                                                                                               // Doppler
	{`\bpscale_[a-z]+_[A-Za-z0-9._-]{16,}`, "pscale_", "«pscale_pw_~32~»", "pscale_x"},                                                                                                      // PlanetScale
	{`\bpul-[a-f0-9]{32,}`, "pul-", "«pul-~h40~»", "pul-x"},                                                                                                                                 // Pulumi
	{`[A-Za-z0-9]{8,}\.atlasv1\.[A-Za-z0-9_=-]{16,}`, ".atlasv1.", "«~14~.atlasv1.~60~»", "x.atlasv1.x"},                                                                                    // HCP Terraform
	{`\bgsk_[A-Za-z0-9]{16,}`, "gsk_", "«gsk_~52~»", "gsk_x"},                                                                                                                               // Groq
	{`\bxai-[A-Za-z0-9]{16,}`, "xai-", "«xai-~80~»", "xai-x"},                                                                                                                               // xAI
	{`\br8_[A-Za-z0-9]{16,}`, "r8_", "«r8_~37~»", "r8_x"},                                                                                                                                   // Replicate
	{`\bpplx-[A-Za-z0-9]{16,}`, "pplx-", "«pplx-~48~»", "pplx-x"},                                                                                                                           // Perplexity
	{`\bntn_[A-Za-z0-9]{16,}`, "ntn_", "«ntn_~46~»", "ntn_x"},                                                                                                                               // Notion
	{`\blin_api_[A-Za-z0-9]{16,}`, "lin_api_", "«lin_api_~40~»", "lin_api_x"},                                                                                                               // Linear
	{`\bnvapi-[A-Za-z0-9_-]{32,}`, "nvapi-", "«nvapi-~64~»", "nvapi-x"},                                                                                                                     // NVIDIA
	{`\bPMAK-[a-f0-9]{24,}-[a-f0-9]{32,}`, "PMAK-", "«PMAK-~h24~-~h34~»", "PMAK-x"},                                                                                                         // Postman
	{`\bfig[dorpu]_[A-Za-z0-9_-]{30,}`, "fig", "«figd_~40~»", "figd_x"},                                                                                                                     // Figma
	{`\bdt0[a-z][0-9]{2}\.[A-Z0-9]{20,}\.[A-Z0-9]{40,}`, "dt0", "«dt0c01.~u24~.~u64~»", "dt0c01.x"},                                                                                         // Dynatrace
	{`\bsb_secret_[A-Za-z0-9_-]{20,}`, "sb_secret_", "«sb_secret_~31~»", "sb_secret_x"},                                                                                                     // Supabase
	{`\bsbp_[a-f0-9]{32,}`, "sbp_", "«sbp_~h40~»", "sbp_x"},                                                                                                                                 // Supabase
	{`\bphx_[A-Za-z0-9]{32,}`, "phx_", "«phx_~43~»", "phx_server"},                                                                                                                          // PostHog
	{`\bbkua_[a-f0-9]{32,}`, "bkua_", "«bkua_~h40~»", "bkua_x"},                                                                                                                             // Buildkite
	{`\bCCIPAT_[A-Za-z0-9_]{24,}`, "CCIPAT_", "«CCIPAT_~22~_~h40~»", "CCIPAT_x"},                                                                                                            // CircleCI
	{`\bfm[12][ar]?_[A-Za-z0-9+/=_-]{40,}`, "fm1 fm2", "«fm2_~80~»", "fm2_x"},                                                                                                               // Fly.io
	{`\bsl\.(?:u\.)?[A-Za-z0-9_-]{100,}`, "sl.", "«sl.~130~»", "sl.x"},                                                                                                                      // Dropbox
	{`\bkey-[a-f0-9]{32}\b`, "key-", "«key-~h32~»", "key-1"},                                                                                                                                // Mailgun
	{`\bops_eyJ[A-Za-z0-9_=-]{32,}`, "ops_eyJ", "«ops_eyJ~80~»", "ops_x"},                                                                                                                   // 1Password
	{`\bLTAI[A-Za-z0-9]{12,}`, "LTAI", "«LTAI~20~»", "LTAI"},                                                                                                                                // Alibaba Cloud
	{`\bAKCp[A-Za-z0-9]{40,}`, "AKCp", "«AKCp~69~»", "AKCp"},                                                                                                                                // JFrog
	{`\bpat-(?:na|eu)[0-9]-[a-f0-9]{8}-[a-f0-9-]{20,}`, "pat-", "«pat-na1-~h8~-~h28~»", "pat-x"},                                                                                            // HubSpot
	{`\blsv2_(?:pt|sk)_[a-f0-9]{32}[A-Za-z0-9_]*`, "lsv2_", "«lsv2_pt_~h32~_~h10~»", "lsv2_x"},                                                                                              // LangSmith
	{`\bdiscord(?:app)?\.com/api/webhooks/[0-9]+/[A-Za-z0-9_-]+`, "/api/webhooks/", "«discord.com/api/webhooks/123456/~60~»", "discord.com/api/webhooks/"},                                  // Discord
	{`\.webhook\.office\.com/([A-Za-z0-9@/_-]+)`, ".webhook.office.com/", "x.webhook.office.com/«webhookb2/~30~»", "x.webhook.office.com"},                                                  // Teams
	{`\boutlook\.office(?:365)?\.com/webhook/([A-Za-z0-9@/_-]+)`, "/webhook/", "outlook.office.com/webhook/«~h36~/IncomingWebhook/~h32~»", "outlook.office.com/mail"},                       // Teams
	{`\bhooks\.zapier\.com/hooks/catch/([A-Za-z0-9/_-]+)`, "hooks.zapier.com/", "hooks.zapier.com/hooks/catch/«123/~8~»", "hooks.zapier.com/docs"},                                          // Zapier
	{`\bAGE-SECRET-KEY-1[A-Z0-9]{20,}`, "AGE-SECRET-KEY-1", "«AGE-SECRET-KEY-1~u58~»", "AGE-SECRET-KEY-1"},                                                                                  // age
	{`(?:\b|bot)([0-9]{6,12}:AA[A-Za-z0-9_-]{20,})`, ":AA", "bot«12345678:AA~33~»", "12:AA"},                                                                                                // Telegram bots
	{`\$(?:2[abxy]|5|6|y|7|argon2id?|apr1|1)\$([A-Za-z0-9./$=,+-]{20,})`, "$1$ $2 $5$ $6$ $y$ $7$ $argon2 $apr1$", "$6$«salt$~43~»", "$6$ $1 $2"},                                           // password hashes (crypt)
}

// shape is a compiled key.
type shape struct {
	has        []string
	expression *regexp.Regexp
	group      int
}

var keyShapes = func() []shape {
	shapes := make([]shape, 0, len(keyTable))
	for _, key := range keyTable {
		expression := regexp.MustCompile(key.expression)
		shapes = append(shapes, shape{strings.Fields(key.has), expression, expression.NumSubexp()})
	}
	return shapes
}()

// shortestKey is the length of the shortest key of the table in which no slash or dot is, such as xoxb-12345678.
const shortestKey = 12

// mayHaveKey reports whether a text has a run of characters as long as the shortest key, or may be a webhook. It spares most texts the
// search for each form.
func mayHaveKey(s string) bool {
	run := 0
	for i := range len(s) {
		if !keyBytes[s[i]] {
			run = 0
		} else if run++; run >= shortestKey {
			return true
		}
	}
	return strings.Contains(s, "hook")
}

// keyBytes are the bytes of such a run.
var keyBytes = func() (all [256]bool) {
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-" {
		all[c] = true
	}
	return all
}()

func (p shape) possible(s string) bool {
	for _, has := range p.has {
		if strings.Contains(s, has) {
			return true
		}
	}
	return false
}
