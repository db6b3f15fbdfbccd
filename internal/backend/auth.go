// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zastava-otel/zastava/internal/backend/problem"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

// tokenFileInterval is the least time between two looks at the token file; a changed file counts after it at the latest.
const tokenFileInterval = time.Second

// authenticator knows the good tokens. It looks at their file with the requests, so that tokens are changed without a
// restart; a file that became unusable changes nothing.
type authenticator struct {
	file  string
	log   *slog.Logger
	good  atomic.Pointer[[]grant]
	now   func() time.Time
	check sync.Mutex // held by who looks at the file; nobody waits for it
	next  time.Time  // of a look
	seen  os.FileInfo
}

// grant is a good token's digest: comparing digests takes the same time for every guess.
type grant struct {
	digest  [sha256.Size]byte
	tenants []string // none = all
}

// newAuthenticator reads the file of tokens; no file lets everyone in.
func newAuthenticator(file string, now func() time.Time, log *slog.Logger) (*authenticator, error) {
	a := &authenticator{file: file, log: log, now: now}
	if file == "" {
		return a, nil
	}
	a.next = now().Add(tokenFileInterval)
	a.seen, _ = os.Stat(file) // before it is read: a change in between is seen by the next look
	return a, a.read()
}

func (a *authenticator) read() error {
	tokens, err := ReadTokens(a.file)
	if err != nil {
		return err
	}
	grants := make([]grant, len(tokens))
	for i, t := range tokens {
		grants[i] = grant{sha256.Sum256([]byte(t.Value)), t.Tenants}
	}
	a.good.Store(&grants)
	return nil
}

// look reads the file again when it is another one than at the last look.
func (a *authenticator) look() {
	if !a.check.TryLock() {
		return
	}
	defer a.check.Unlock()
	now := a.now()
	if now.Before(a.next) {
		return
	}
	a.next = now.Add(tokenFileInterval)
	is, _ := os.Stat(a.file)
	if is == nil && a.seen == nil {
		return // still missing
	}
	if is != nil && a.seen != nil && os.SameFile(is, a.seen) && is.ModTime().Equal(a.seen.ModTime()) && is.Size() == a.seen.Size() {
		return
	}
	a.seen = is
	if err := a.read(); err != nil {
		a.log.Error("The token file changed and cannot be used; the tokens of before stay good", "error", err)
		return
	}
	a.log.Info("The token file changed; its tokens count now", "tokens", len(*a.good.Load()))
}

// tells says whose data a route tells.
type tells uint8

const (
	ofOneTenant  tells = iota // the header's
	ofAllTenants              // together, which is not for bound tokens
	ofNoTenant                // it is the same for all
)

// require lets requests with a good token through, and all where there are no tokens. A token that is bound to tenants
// opens nothing else: where a query names no tenant, the token's own is meant.
func (a *authenticator) require(next http.Handler, what tells) http.Handler {
	if a.file == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.look()
		token, ok := tokenOf(r)
		tenants, good := a.tenantsOf(token)
		if !ok || !good {
			w.Header().Add("WWW-Authenticate", `Bearer realm="zastava"`)
			if r.Method == http.MethodGet {
				w.Header().Add("WWW-Authenticate", `Basic realm="zastava: any name, token as password", charset="UTF-8"`)
			}
			problem.New(http.StatusUnauthorized, "unauthorized", "A token is required",
				"send Authorization: Bearer with a token of the backend's --token-file").With("Authorization", "no good token").Write(w)
			return
		}
		if len(tenants) > 0 && what != ofNoTenant {
			var p *problem.Details
			if r, p = confine(r, tenants, what); p != nil {
				p.Write(w)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// confine gives the request as it is for a token of some tenants, or why it is not for such a token.
func confine(r *http.Request, tenants []string, what tells) (*http.Request, *problem.Details) {
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch asked := r.Header.Get(backendapi.HeaderTenant); {
	case what == ofAllTenants:
		return nil, problem.New(http.StatusForbidden, "wrong-tenant", "Not for this token",
			"this tells of all tenants, and the token is bound to some; use one that is not bound")
	case asked == "" && read && len(tenants) > 1:
		return nil, badRequest().With(backendapi.HeaderTenant, "is required: the token is bound to several tenants")
	case asked == "" && read:
		r = r.Clone(r.Context())
		r.Header.Set(backendapi.HeaderTenant, tenants[0])
	case asked != "" && !slices.Contains(tenants, asked):
		return nil, problem.New(http.StatusForbidden, "wrong-tenant", "Not this token's tenant",
			"the token is bound to other tenants").With(backendapi.HeaderTenant, "is not a tenant of the token")
	}
	return r, nil // what is missing in a POST, its handler says
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

// tenantsOf looks the token up; every token is compared with.
func (a *authenticator) tenantsOf(token string) (tenants []string, good bool) {
	digest := sha256.Sum256([]byte(token))
	for _, g := range *a.good.Load() {
		if subtle.ConstantTimeCompare(digest[:], g.digest[:]) == 1 {
			tenants, good = g.tenants, true
		}
	}
	return tenants, good
}
