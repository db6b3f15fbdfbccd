// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavaauthextension

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/oauth2"

	"github.com/zastava-otel/zastava/internal/credentials"
)

// authenticated adds tokens to requests.
type authenticated struct {
	base   http.RoundTripper
	tokens *source
	prover *prover // nil for bearer tokens

	insecure bool // insecure_credentials
}

// RoundTrip sends req with a token. An error that begins with "authenticate" means that it was not sent.
func (t *authenticated) RoundTrip(req *http.Request) (*http.Response, error) {
	token, err := t.token(req)
	if err == nil && strings.ContainsFunc(token.AccessToken, func(r rune) bool { return r <= ' ' || r > '~' }) {
		err = errors.New("the token has characters that are not allowed in a header")
	}
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, fmt.Errorf("authenticate the request: %w", err)
	}
	r := req.Clone(req.Context())
	var resp *http.Response
	if t.prover == nil {
		r.Header.Set("Authorization", "Bearer "+token.AccessToken)
		resp, err = t.base.RoundTrip(r)
	} else {
		r.Header.Set("Authorization", "DPoP "+token.AccessToken)
		resp, err = t.prover.do(t.base, r, token.AccessToken, wantsNonceInHeader)
	}
	if err == nil && resp.StatusCode == http.StatusUnauthorized && !wantsNonceInHeader(resp) {
		t.tokens.reject(token)
	}
	return resp, err
}

// token returns a token for req. It requests none for a server that must not get it.
func (t *authenticated) token(req *http.Request) (*oauth2.Token, error) {
	if !t.insecure {
		if err := credentials.Check("the endpoint", req.URL, "the token"); err != nil {
			return nil, err
		}
	}
	if err := credentials.Forward(req); err != nil {
		return nil, err
	}
	return t.tokens.get(req.Context())
}

// wantsNonceInHeader reports whether the response has the challenge of RFC 9449 section 9.
func wantsNonceInHeader(resp *http.Response) bool {
	return resp.StatusCode == http.StatusUnauthorized && slices.ContainsFunc(resp.Header.Values("WWW-Authenticate"),
		func(challenge string) bool { return strings.Contains(challenge, `error="`+useNonce+`"`) })
}
