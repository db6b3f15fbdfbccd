// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backend/backendtest"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

func (s *site) putFacts(facts ...backendapi.Fact) {
	s.t.Helper()
	s.putFactsOf("sha256:abab", facts...)
}

func (s *site) putFactsOf(image string, facts ...backendapi.Fact) {
	s.t.Helper()
	body := mustJSON(s.t, backendapi.Facts{CallgraphID: "cg", Subject: backendapi.Subject{ImageDigest: image}, Events: facts})
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, backendapi.FactsPath, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(backendapi.HeaderTenant, backendtest.Tenant)
	s.b.Handler().ServeHTTP(w, r)
	require.Equal(s.t, http.StatusAccepted, w.Code, "%s", w.Body)
}

func TestPagesShowLoadedCode(t *testing.T) {
	s, l := serve(t, nil), recent(0, "api", 5)
	started := l.Started(1)
	started.Workload.ImageDigest = "sha256:abab"
	s.put(started)
	fact := func(symbol, path, kind string) backendapi.Fact {
		return backendapi.Fact{
			SymbolID: symbol, HitCount: 3, ContainerID: "containerd://" + l.ID, BuildID: "gnu-build-id:" + strings.Repeat("9f", 20), ObservedAt: new(l.At(2)),
			Metadata: map[string]string{backendapi.FactPath: path, backendapi.FactKind: kind, backendapi.FactSHA256: strings.Repeat("ab", 32)},
		}
	}
	library, program, hostile, module := fact("l", "/usr/lib/libssl.so.3", "library"), fact("p", "/usr/bin/api", "executable"), fact("h", "/tmp/<script>x", "library"), fact("m", "/usr/bin/api", "go_module")
	library.PURL = "pkg:deb/debian/libssl3@3.0.15"
	module.Metadata[backendapi.FactGoModule] = "golang.org/x/sys@v0.1.0"
	hostile.Metadata[backendapi.FactSHA256], hostile.Metadata[backendapi.FactReason] = "", "too_large"
	s.putFacts(library, program, hostile, module)

	for path, title := range map[string]string{
		"/containers/containerd:%2F%2F" + l.ID: "Loaded code", "/images/sha256:abab": "Code loaded by its containers",
	} {
		code, _, body := s.get(path)
		require.Equal(t, 200, code, "%s", body)
		assert.Contains(t, body, title)
		at := func(text string) int {
			i := strings.Index(body, text)
			require.Positive(t, i, "%s is not on %s", text, path)
			return i
		}
		assert.Less(t, at("/usr/bin/api"), at("/usr/lib/libssl.so.3"), "the program comes first")
		assert.Less(t, at("/usr/lib/libssl.so.3"), at("golang.org/x/sys@v0.1.0"), "and modules last")
		at("pkg:deb/debian/libssl3@3.0.15")
		at("sha256:abababababab…")
		at("/tmp/&lt;script&gt;x")
		at("hash unknown: too large")
		at("3×")
	}
	_, _, body := s.get("/containers/containerd:%2F%2F" + l.ID)
	assert.Contains(t, body, `href="/images/sha256:abab"`)
	_, _, body = s.get("/images/sha256:cdcd")
	assert.Contains(t, body, "No runtime facts were received")
}
