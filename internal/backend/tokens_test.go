// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backend"
	"github.com/zastava-otel/zastava/internal/backend/backendtest"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

func tokenFile(tb testing.TB, lines ...string) string {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "tokens")
	require.NoError(tb, os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o600))
	return name
}

func TestParseTokensReturnsTokensOrFaults(t *testing.T) {
	got, err := backend.ParseTokens([]byte("# who\n\n first \nsecond acme\r\nthird\tglobex acme acme"))
	require.NoError(t, err)
	assert.Equal(t, []backend.Token{
		{Value: "first", Tenants: []string{}}, {Value: "second", Tenants: []string{"acme"}}, {Value: "third", Tenants: []string{"acme", "globex"}},
	}, got)
	for name, tc := range map[string]struct{ text, want string }{
		"nothing":          {"", "holds no token"},
		"comments only":    {"# one\n#two", "holds no token"},
		"twice":            {"secret acme\n# x\nsecret globex", "line 3 repeats the token of line 1"},
		"not ASCII":        {"a\nsécret", "line 2: a token has"},
		"too long":         {strings.Repeat("a", backend.MaxToken+1), "line 1: a token has"},
		"tenant not ASCII": {"secret acme ácme", "line 1: its tenant 2"},
		"tenant too long":  {"secret " + strings.Repeat("a", backendapi.MaxTenant+1), "line 1: its tenant 1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := backend.ParseTokens([]byte(tc.text))
			require.ErrorContains(t, err, tc.want)
			assert.NotContains(t, err.Error(), "secret", "a token is not for logs")
		})
	}
}

func TestReadTokensErrorNamesFile(t *testing.T) {
	_, err := backend.ReadTokens(filepath.Join(t.TempDir(), "none"))
	require.ErrorContains(t, err, "none")
	_, err = backend.ReadTokens(tokenFile(t, strings.Repeat("x\n", backend.MaxTokenFile)))
	require.ErrorContains(t, err, "more than")
	name := tokenFile(t, "#")
	_, err = backend.ReadTokens(name)
	require.ErrorContains(t, err, name+": holds no token")
}

func FuzzParseTokens(f *testing.F) {
	f.Add([]byte("# c\na\nb acme globex\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		oracle.Bound(t, oracle.Parsing(len(raw)))
		tokens, err := backend.ParseTokens(raw)
		if err != nil {
			require.Nil(t, tokens)
			return
		}
		require.NotEmpty(t, tokens)
		for _, tok := range tokens {
			require.NotEmpty(t, tok.Value)
			require.NotContains(t, tok.Value, " ")
			for _, tenant := range tok.Tenants {
				require.True(t, backendapi.ValidTenant(tenant))
			}
		}
	})
}

func TestBoundTokenGivesAccessToItsTenantsOnly(t *testing.T) {
	a := serve(t, func(o *backend.Options) { o.TokenFile = tokenFile(t, "all", "ours acme", "both acme globex") })
	l := backendtest.NewLife(0)
	theirs := l.Started(1)
	theirs.Tenant = "globex"
	post := func(token string, e backendapi.Event, header ...string) answer {
		return a.post(backendtest.RandomBatchID(backendtest.Batch(e)), append([]string{
			"Authorization", "Bearer " + token, backendapi.HeaderTenant, e.Tenant,
		}, header...)...)
	}
	assert.Equal(t, http.StatusAccepted, post("ours", l.Started(1)).StatusCode)
	assert.Equal(t, http.StatusAccepted, post("both", theirs).StatusCode)
	got := post("ours", theirs)
	require.Equal(t, http.StatusForbidden, got.StatusCode)
	assert.Equal(t, backendapi.HeaderTenant, got.problem(t).Errors[0].Field)
	assert.Equal(t, http.StatusUnprocessableEntity, post("ours", theirs, backendapi.HeaderTenant, "acme").StatusCode, "an event of another tenant")
	got = post("ours", l.Started(1), backendapi.HeaderTenant, "")
	assert.Equal(t, http.StatusBadRequest, got.StatusCode, "a batch names its tenant all the same")

	for _, tc := range []struct {
		token, tenant string
		status, seen  int
	}{
		{"all", "", 200, 2},
		{"all", "globex", 200, 1},
		{"ours", "", 200, 1},
		{"ours", "acme", 200, 1},
		{"ours", "globex", 403, 0},
		{"both", "", 400, 0},
		{"both", "acme", 200, 1},
		{"both", "globex", 200, 1},
		{"both", "initech", 403, 0},
	} {
		for _, path := range []string{backendapi.EventsPath, "/api/v1/containers"} {
			got := a.get(path, "Authorization", "Bearer "+tc.token, backendapi.HeaderTenant, tc.tenant)
			require.Equal(t, tc.status, got.StatusCode, "%s of %+v", path, tc)
			assert.Equal(t, tc.seen, strings.Count(string(got.body), `"lastEventAt"`)+strings.Count(string(got.body), `"receivedAt"`), "%s of %+v", path, tc)
		}
	}
	assert.Equal(t, 200, a.get("/api/v1/containers/"+l.ID, "Authorization", "Bearer ours").StatusCode, "not ambiguous for a token of one tenant")
	assert.NotContains(t, string(a.get("/", "Authorization", "Bearer ours").body), "globex")
	assert.Equal(t, 200, a.get("/metrics", "Authorization", "Bearer all").StatusCode)
	assert.Equal(t, 200, a.get("/openapi.yaml", "Authorization", "Bearer both").StatusCode, "the same for all")
	got = a.get("/metrics", "Authorization", "Bearer ours")
	assert.Equal(t, 403, got.StatusCode)
	assert.Contains(t, got.problem(t).Type, "#wrong-tenant")
}

func TestChangedTokenFileIsReloaded(t *testing.T) {
	file := tokenFile(t, "old")
	var log bytes.Buffer
	var passed atomic.Int64
	a := serve(t, func(o *backend.Options) {
		o.TokenFile, o.Logger = file, slog.New(slog.NewTextHandler(&log, nil))
		o.Now = func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
	})
	status := func(token string) int {
		passed.Add(int64(2 * time.Second))
		return a.get("/api/v1/containers", "Authorization", "Bearer "+token).StatusCode
	}
	require.Equal(t, 200, status("old"))
	replace := func(text string) {
		next := filepath.Join(filepath.Dir(file), "next")
		require.NoError(t, os.WriteFile(next, []byte(text), 0o600))
		require.NoError(t, os.Rename(next, file))
	}
	replace("new\n")
	assert.Equal(t, 200, status("new"))
	assert.Equal(t, 401, status("old"))
	replace("# nothing\n")
	assert.Equal(t, 200, status("new"), "an unusable file changes nothing")
	require.NoError(t, os.Remove(file))
	assert.Equal(t, 200, status("new"))
	assert.Equal(t, 200, status("new"))
	replace("newest\n")
	assert.Equal(t, 200, status("newest"))
	assert.Equal(t, 401, status("new"))
	assert.Equal(t, 2, strings.Count(log.String(), "cannot be used"), "each fault is logged once: %s", log.String())
	assert.NotContains(t, log.String(), "newest")
}
