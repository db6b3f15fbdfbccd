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

// tokenFileInterval is the least time between two checks of the token file; a change is noticed after it at the latest.
const tokenFileInterval = time.Second

// authenticator holds the valid tokens. It checks their file when requests arrive, so that tokens can be changed without a
// restart. A file that became unusable changes nothing.
type authenticator struct {
	file   string
	log    *slog.Logger
	grants atomic.Pointer[[]grant]
	now    func() time.Time

	checking  sync.Mutex // held during a check of the file; other requests do not wait for it
	nextCheck time.Time
	checked   os.FileInfo // of the file at the last check; nil if it was missing
}

// grant is a valid token. It holds a digest, because comparing digests takes the same time for every guess.
type grant struct {
	digest  [sha256.Size]byte
	tenants []string // empty for all tenants
}

// newAuthenticator reads the file of tokens; without a file every request is let through.
func newAuthenticator(file string, now func() time.Time, log *slog.Logger) (*authenticator, error) {
	a := &authenticator{file: file, log: log, now: now}
	if file == "" {
		return a, nil
	}
	a.nextCheck = now().Add(tokenFileInterval)
	a.checked, _ = os.Stat(file) // before it is read: the next check notices a change in between
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
	a.grants.Store(&grants)
	return nil
}

// reload reads the file again if it changed since the last check.
func (a *authenticator) reload() {
	if !a.checking.TryLock() {
		return
	}
	defer a.checking.Unlock()
	now := a.now()
	if now.Before(a.nextCheck) {
		return
	}
	a.nextCheck = now.Add(tokenFileInterval)
	is, _ := os.Stat(a.file)
	if is == nil && a.checked == nil {
		return // still missing
	}
	if is != nil && a.checked != nil && os.SameFile(is, a.checked) && is.ModTime().Equal(a.checked.ModTime()) && is.Size() == a.checked.Size() {
		return
	}
	a.checked = is
	if err := a.read(); err != nil {
		a.log.Error("The token file changed and cannot be used; the previous tokens stay valid", "error", err)
		return
	}
	a.log.Info("The token file changed; its tokens are used from now on", "tokens", len(*a.grants.Load()))
}

// scope is whose data a route shows.
type scope uint8

const (
	oneTenant  scope = iota // the tenant of the header
	allTenants              // together; refused for tokens that are bound to tenants
	noTenant                // the same for all
)

// require lets requests with a valid token through, and all requests if there are no tokens. A token that is bound to tenants
// gives access to nothing else: a query that names no tenant is about the token's own.
func (a *authenticator) require(next http.Handler, shows scope) http.Handler {
	if a.file == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.reload()
		token, ok := tokenOf(r)
		tenants, valid := a.tenantsOf(token)
		if !ok || !valid {
			w.Header().Add("WWW-Authenticate", `Bearer realm="zastava"`)
			if r.Method == http.MethodGet {
				w.Header().Add("WWW-Authenticate", `Basic realm="zastava: any name, token as password", charset="UTF-8"`)
			}
			problem.New(http.StatusUnauthorized, "unauthorized", "A token is required",
				"send Authorization: Bearer with a token of the backend's --token-file").With("Authorization", "no valid token").Write(w)
			return
		}
		if len(tenants) > 0 && shows != noTenant {
			var p *problem.Details
			if r, p = restrict(r, tenants, shows); p != nil {
				p.Write(w)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// restrict returns the request as a token of some tenants may make it, or why such a token may not make it.
func restrict(r *http.Request, tenants []string, shows scope) (*http.Request, *problem.Details) {
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch asked := r.Header.Get(backendapi.HeaderTenant); {
	case shows == allTenants:
		return nil, problem.New(http.StatusForbidden, "wrong-tenant", "Not for this token",
			"this shows all tenants, and the token is bound to some; use one that is not bound")
	case asked == "" && read && len(tenants) > 1:
		return nil, badRequest().With(backendapi.HeaderTenant, "is required: the token is bound to several tenants")
	case asked == "" && read:
		r = r.Clone(r.Context())
		r.Header.Set(backendapi.HeaderTenant, tenants[0])
	case asked != "" && !slices.Contains(tenants, asked):
		return nil, problem.New(http.StatusForbidden, "wrong-tenant", "Not this token's tenant",
			"the token is bound to other tenants").With(backendapi.HeaderTenant, "is not a tenant of the token")
	}
	return r, nil // the handler of a POST refuses one without a tenant
}

// tokenOf returns the bearer token, or on GET the password of basic authentication, for which browsers ask people. It is not
// valid on POST: a foreign page must not post with what the browser remembers.
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

// tenantsOf returns the tenants of a token. It compares with every token, so that its time does not depend on the match.
func (a *authenticator) tenantsOf(token string) (tenants []string, valid bool) {
	digest := sha256.Sum256([]byte(token))
	for _, g := range *a.grants.Load() {
		if subtle.ConstantTimeCompare(digest[:], g.digest[:]) == 1 {
			tenants, valid = g.tenants, true
		}
	}
	return tenants, valid
}
