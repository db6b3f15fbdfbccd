// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"net/url"
	"strings"
)

// PURL gives the package URL of the module: pkg:golang/<path>@<version>, lower case in its path as the purl type golang has it,
// without a version where none is known. The standard library is the module "stdlib" with Go's version, as scanners have it.
func (m GoModule) PURL() string {
	if m.Path == "" {
		return ""
	}
	parts := strings.Split(strings.ToLower(m.Path), "/")
	for i, part := range parts {
		parts[i] = purlEscape(part)
	}
	purl := "pkg:golang/" + strings.Join(parts, "/")
	if m.Version != "" {
		purl += "@" + purlEscape(m.Version)
	}
	return purl
}

// purlEscape percent-encodes all but letters, digits and . - _ ~ and the colon, as the purl specification asks.
func purlEscape(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(url.QueryEscape(s), "+", "%20"), "%3A", ":")
}
