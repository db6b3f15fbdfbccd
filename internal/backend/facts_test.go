// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backend"
	"github.com/zastava-otel/zastava/internal/backend/backendtest"
	"github.com/zastava-otel/zastava/internal/backend/store"
	"github.com/zastava-otel/zastava/internal/backend/wire"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

const imageDigest = "sha256:abababababababababababababababababababababababababababababababab"

func lines(n int, container string) []byte {
	var out []byte
	for i := range n {
		f := backendapi.Fact{SymbolID: fmt.Sprintf("sym:binary:%03d", i), HitCount: 1, ContainerID: container, Metadata: map[string]string{"path": "/lib/libc.so.6"}}
		out = append(f.AppendCanonical(out), '\n')
	}
	return out
}

func (a *api) postFacts(query string, body []byte, header ...string) answer {
	all := append([]string{"Content-Type", backendapi.NDJSONContentType, backendapi.HeaderTenant, backendtest.Tenant}, header...)
	return a.do(http.MethodPost, backendapi.FactsNDJSONPath+"?"+query, bytes.NewReader(body), all...)
}

func TestPostedFactsAreListed(t *testing.T) {
	a, l := serve(t, nil), backendtest.NewLife(0)
	a.put(l.Started(1))
	id := "containerd://" + l.ID
	subject := "callgraphId=cg&imageDigest=" + imageDigest
	for _, try := range []string{"first", "repeated"} {
		got := a.postFacts(subject, zip(lines(3, id)), "Content-Encoding", "gzip", backendapi.HeaderIdempotencyKey, "Key")
		require.Equal(t, http.StatusAccepted, got.StatusCode, "%s: %s", try, got.body)
		assert.Equal(t, backendapi.FactsResponse{Accepted: 3, SubjectKey: "image:" + imageDigest}, into[backendapi.FactsResponse](t, backendOK(got)))
	}
	reused := a.postFacts(subject, lines(2, id), backendapi.HeaderIdempotencyKey, "key")
	assert.Equal(t, http.StatusUnprocessableEntity, reused.StatusCode)

	body := `{"callgraphId":"cg","subject":{"imageDigest":"` + imageDigest + `"},"events":[{"symbolId":"sym:binary:000","hitCount":4}]}`
	posted := a.do(http.MethodPost, backendapi.FactsPath, strings.NewReader(body), "Content-Type", "application/json", backendapi.HeaderTenant, backendtest.Tenant)
	require.Equal(t, http.StatusAccepted, posted.StatusCode, "%s", posted.body)

	page := into[backend.FactPage](t, a.get(backendapi.FactsPath+"?imageDigest="+imageDigest))
	require.Len(t, page.Facts, 3)
	assert.EqualValues(t, 5, page.Facts[0].HitCount)
	assert.Equal(t, "cg", page.Facts[0].CallgraphID)

	first := into[backend.FactPage](t, a.get(backendapi.FactsPath+"?limit=2&containerId="+url.QueryEscape(id)))
	require.Len(t, first.Facts, 2)
	rest := into[backend.FactPage](t, a.get(backendapi.FactsPath+"?limit=2&containerId="+url.QueryEscape(id)+"&cursor="+first.NextCursor))
	assert.Len(t, rest.Facts, 1)

	detail := into[store.Detail](t, a.get("/api/v1/containers/"+l.ID))
	require.Len(t, detail.Loads, 3)
	assert.Equal(t, "/lib/libc.so.6", detail.Loads[0].Metadata["path"])
	assert.Empty(t, into[backend.FactPage](t, a.get(backendapi.FactsPath+"?imageDigest="+imageDigest, backendapi.HeaderTenant, "other")).Facts)
	assert.Contains(t, string(a.get("/metrics").body), `zastava_backend_facts_total{outcome="accepted"} 4`)
}

// backendOK makes an accepted answer readable for into.
func backendOK(a answer) answer {
	a.StatusCode = http.StatusOK
	return a
}

func TestInvalidFactLinesAreRefused(t *testing.T) {
	a := serve(t, nil)
	image := "callgraphId=cg&imageDigest=" + imageDigest
	good := lines(1, "containerd://1")
	big := bytes.Repeat([]byte(" "), backendapi.MaxFactsBytes+1)
	for _, tt := range []struct {
		desc, query   string
		body          []byte
		header        []string
		status        int
		field, detail string
	}{
		{"no call graph", "imageDigest=" + imageDigest, good, nil, 400, "callgraphId", "callgraphId is required"},
		{"no subject", "callgraphId=cg&component=api", good, nil, 400, "subject", "Subject must include scanId/imageDigest/component+version"},
		{"unknown parameter", image + "&image=x", good, nil, 400, "image", "is not a parameter"},
		{"no facts", image, nil, nil, 400, "events", "runtime fact stream was empty"},
		{"empty lines only", image, []byte("\n\n \n"), nil, 400, "events", "runtime fact stream was empty"},
		{"a bad line among good ones", image, append(append([]byte("\n"), good...), `{"symbolId":"x"}`...), nil, 400, "line 3.hitCount", "must be 1 to"},
		{"no tenant", image, good, []string{backendapi.HeaderTenant, ""}, 400, backendapi.HeaderTenant, "is required"},
		{"JSON", image, good, []string{"Content-Type", "application/json"}, 415, "Content-Type", "must be application/x-ndjson"},
		{"another encoding", image, good, []string{"Content-Encoding", "br"}, 415, "Content-Encoding", "must be gzip"},
		{"invalid gzip", image, good, []string{"Content-Encoding", "gzip"}, 400, "", "gzip"},
		{"too large", image, big, nil, 413, "", "at most 10485760 bytes"},
		{"too large once unpacked", image, zip(big), []string{"Content-Encoding", "gzip"}, 413, "", "at most 10485760 bytes"},
		{"too many", image, bytes.Repeat([]byte("{}\n"), 25), nil, 400, "line 10.hitCount", "must be 1 to"},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			got := a.postFacts(tt.query, tt.body, tt.header...)
			require.Equal(t, tt.status, got.StatusCode, "%s", got.body)
			p := got.problem(t)
			if tt.field == "" {
				assert.Contains(t, p.Detail, tt.detail)
				return
			}
			var found bool
			for _, f := range p.Errors {
				found = found || (f.Field == tt.field && strings.Contains(f.Detail, tt.detail))
			}
			assert.True(t, found, "%+v", p)
			assert.LessOrEqual(t, len(p.Errors), 20)
		})
	}
	for _, query := range []string{"", "?component=api", "?limit=1"} {
		assert.Equal(t, 400, a.get(backendapi.FactsPath+query).StatusCode, query)
	}
}

func TestInvalidFactDocumentsAreRefused(t *testing.T) {
	for _, tt := range []struct{ desc, body, want string }{
		{"no JSON", `{`, "not well-formed"},
		{"unknown field", `{"callgraph":"x"}`, "callgraph"},
		{"not a text", `{"callgraphId":1}`, "callgraphId"},
		{"no facts", `{"callgraphId":"x","subject":{"scanId":"1"},"events":[]}`, backendapi.NoFacts},
		{"a bad fact", `{"callgraphId":"x","subject":{"scanId":"1"},"events":[{"symbolId":"a","hitCount":1},{"symbolId":"a"}]}`, "events[1].hitCount"},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			_, p := wire.ParseFacts(t.Context(), []byte(tt.body))
			require.NotNil(t, p)
			assert.Contains(t, fmt.Sprintf("%+v", *p), tt.want)
		})
	}
}

// FuzzNDJSON checks that any body gives valid facts or a problem that names a fault.
func FuzzNDJSON(f *testing.F) {
	f.Add(lines(2, "containerd://1"))
	f.Add([]byte("{}\n\n{\"symbolId\":\"a\",\"hitCount\":1}\r\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		oracle.Bound(t, oracle.Parsing(len(body)))
		facts, p := wire.ParseNDJSON(t.Context(), body)
		if p != nil {
			require.NotEmpty(t, p.Errors)
			return
		}
		require.NotEmpty(t, facts)
		for i := range facts {
			require.NoError(t, facts[i].Validate())
		}
	})
}

func FuzzFactsJSON(f *testing.F) {
	f.Add([]byte(`{"callgraphId":"x","subject":{"scanId":"1"},"events":[{"symbolId":"a","hitCount":1}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		oracle.Bound(t, oracle.Parsing(len(body)))
		if facts, p := wire.ParseFacts(t.Context(), body); p == nil {
			require.NotEmpty(t, facts.Events)
		}
	})
}
