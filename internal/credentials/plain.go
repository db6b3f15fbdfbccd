// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// ErrPlain is the cause of an error about credentials that would be sent unencrypted.
var ErrPlain = errors.New("would be sent in plain text")

// Check returns an error if what would be sent in plain text to another machine: u is http, and its host is not loopback. option is the
// name of the configuration option that contains u; what names the credentials. The error wraps ErrPlain and shows u without user,
// password and query.
func Check(option string, u *url.URL, what string) error {
	if !strings.EqualFold(u.Scheme, "http") || IsLoopback(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("%s %s is not https, so %s %w: use https, or set insecure_credentials to true if every network on the way is trusted",
		option, Show(u), what, ErrPlain)
}

// Forward returns an error if req follows a redirect that leads to another server, or from https to http. A client that adds
// credentials to each request must not add them to such a one.
func Forward(req *http.Request) error {
	if req.Response == nil || req.Response.Request == nil { // set by http.Client when it follows a redirect
		return nil
	}
	from, to := req.Response.Request.URL, req.URL
	if strings.EqualFold(from.Scheme, to.Scheme) && strings.EqualFold(from.Host, to.Host) {
		return nil
	}
	return fmt.Errorf("%s redirects to %s, which does not get the credentials: use that URL as the endpoint if it is right", Show(from), Show(to))
}

// IsLoopback reports whether host is localhost or an address of this machine only. Other names are not resolved: who answers for a
// name may change.
func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// Show returns u as logs and errors may show it: without user, password, query and fragment.
func Show(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// secretWords are parts of the names of headers that carry credentials.
var secretWords = []string{"auth", "token", "key", "secret", "pass", "pwd", "cookie", "credential", "session", "signature", "jwt", "sas", "dpop"}

// schemes are the authentication schemes by which the value of a header is recognized as a credential.
var schemes = []string{"basic ", "bearer ", "digest ", "dpop ", "negotiate ", "token ", "eyj"} // eyj: a JWT

// IsSecretHeader reports whether a header of this name and value carries a credential.
func IsSecretHeader(name, value string) bool {
	name, value = strings.ToLower(name), strings.ToLower(value)
	for _, word := range secretWords {
		if strings.Contains(name, word) {
			return true
		}
	}
	for _, scheme := range schemes {
		if strings.HasPrefix(value, scheme) {
			return true
		}
	}
	return false
}
