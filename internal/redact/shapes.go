// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"regexp"
	"strings"
)

// pemBlock is one block or its beginning: arguments are cut at a maximum length, and a part of a key must be masked too.
var pemBlock = regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]{1,64}-----.*?(?:-----END [A-Z0-9 ]{1,64}-----|$)`)

// authScheme is an HTTP credential (RFC 9110 section 11) anywhere in a text.
var authScheme = regexp.MustCompile(`(?i)\b(bearer|basic|dpop|negotiate|digest)[ \t]+([A-Za-z0-9._~+/=*][A-Za-z0-9._~+/=*-]*)`)

// maskSchemes masks HTTP credentials. What follows the word in prose, as in basic usage, is not masked: a credential of Basic is base64, and
// those of other schemes than Bearer have digits or signs.
func maskSchemes(s string) string {
	var b strings.Builder
	at := 0
	for _, match := range authScheme.FindAllStringSubmatchIndex(s, -1) {
		scheme, credential := s[match[2]:match[3]], s[match[4]:match[5]]
		switch {
		case strings.EqualFold(scheme, "bearer"):
			if plainBearer[strings.ToLower(credential)] {
				continue
			}
		case strings.Trim(credential, "abcdefghijklmnopqrstuvwxyz.") == "" || len(credential) < 6:
			continue
		}
		b.WriteString(s[at:match[4]])
		b.WriteString(hide(credential))
		at = match[5]
	}
	if at == 0 {
		return s
	}
	b.WriteString(s[at:])
	return b.String()
}

var plainBearer = words("token tokens auth authentication authorization scheme format methods for is of realm")

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
		if match[2] < at || plainPair(s, match) {
			continue
		}
		to := match[3] + lastHost(s[match[3]:])
		b.WriteString(s[at:match[2]])
		b.WriteString(hide(s[match[2]:to]))
		at = to
	}
	b.WriteString(s[at:])
	return b.String()
}

// plainPair reports whether name:tag@host is none: an image with its digest, a package with its version, an artifact with its type.
func plainPair(s string, match []int) bool {
	switch s[match[4]:match[5]] {
	case "sha256", "sha512", "jar", "aar", "war", "zip", "pom":
		return true
	}
	switch s[match[0] : match[2]-1] {
	case "npm", "jsr", "workspace", "catalog", "patch", "pkg", "github", "gitlab", "bitbucket", "link", "portal":
		return true
	}
	return false
}

// lastHost returns the position of the last @ of the word if there are several. A password may have an unescaped one: me:p@ss@10.0.0.1.
func lastHost(s string) int {
	return max(0, strings.LastIndexByte(s[:lengthUntil(s, " \t\r\n\"'<>`,;/")], '@'))
}

var (
	urlStart = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://`)
	port     = regexp.MustCompile(`^[^:@]*:[0-9]{1,5}(?:[/?#]|$)`)
)

// remoteShell are schemes whose user without a password is no token.
var remoteShell = words("ssh:// git+ssh:// ssh+git:// sftp:// scp:// rsync:// svn+ssh://")

// maskURLs masks the userinfo (RFC 3986 section 3.2.1) of each URL, including the user, which is often a token. Passwords are often
// written with an unescaped / or @, so after a colon that does not start a port the last @ ends the userinfo.
func maskURLs(s string) string {
	var b strings.Builder
	at, end, lastAt := 0, 0, 0
	for _, match := range urlStart.FindAllStringIndex(s, -1) {
		from := match[1]
		if from < at {
			continue // in the userinfo of the previous URL
		}
		if from >= end { // several URLs in one word share its end and its last @
			end = from + lengthUntil(s[from:], " \t\r\n\"'<>`")
			lastAt = from + strings.LastIndexByte(s[from:end], '@')
		}
		rest := s[from:end]
		authority := rest
		if end := strings.IndexAny(rest, "/?#"); end >= 0 {
			authority = rest[:end]
		}
		last := strings.LastIndexByte(authority, '@')
		if last < 0 && strings.Contains(authority, ":") && !port.MatchString(rest) {
			last = lastAt - from
		}
		if last <= 0 || remoteShell[s[match[0]:match[1]]] && !strings.Contains(rest[:last], ":") {
			continue
		}
		b.WriteString(s[at:from])
		b.WriteString(hide(rest[:last]))
		at = from + last
	}
	b.WriteString(s[at:])
	return b.String()
}
