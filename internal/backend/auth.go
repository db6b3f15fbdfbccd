// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/zastava-otel/zastava/internal/backend/problem"
)

// authenticator knows the digests of the good tokens; comparing digests takes the same time for every guess.
type authenticator struct{ digests [][sha256.Size]byte }

func newAuthenticator(tokens []string) *authenticator {
	a := &authenticator{}
	for _, t := range tokens {
		a.digests = append(a.digests, sha256.Sum256([]byte(t)))
	}
	return a
}

// require lets requests with a good token through, and all where there are no tokens.
func (a *authenticator) require(next http.Handler) http.Handler {
	if len(a.digests) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := tokenOf(r)
		if ok && a.good(token) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Add("WWW-Authenticate", `Bearer realm="zastava"`)
		if r.Method == http.MethodGet {
			w.Header().Add("WWW-Authenticate", `Basic realm="zastava: any name, token as password", charset="UTF-8"`)
		}
		problem.New(http.StatusUnauthorized, "unauthorized", "A token is required",
			"send Authorization: Bearer with a token of the backend's --token-file").With("Authorization", "no good token").Write(w)
	})
}

// tokenOf takes the bearer token, or on GET the password of basic authentication: browsers ask people for that, and it
// must not let a foreign page post with what the browser remembers.
func tokenOf(r *http.Request) (string, bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if ok && strings.EqualFold(scheme, "bearer") {
		return strings.TrimSpace(token), true
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		_, password, ok := r.BasicAuth()
		return password, ok
	}
	return "", false
}

func (a *authenticator) good(token string) bool {
	digest := sha256.Sum256([]byte(token))
	good := 0
	for i := range a.digests {
		good |= subtle.ConstantTimeCompare(digest[:], a.digests[i][:])
	}
	return good == 1
}
