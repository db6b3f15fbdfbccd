// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavaauthextension

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/zastava-otel/zastava/internal/test/proxy"
)

// rig is a started extension and a client that it authenticates.
type rig struct {
	*authenticator
	client *http.Client
	logs   *observer.ObservedLogs
}

func newRig(t *testing.T, w *world, change ...func(*Config)) *rig {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	cfg.TokenURL, cfg.ClientID, cfg.ClientSecret = w.auth.URL+"/token", clientID, clientSecret
	if w.dpop {
		cfg.DPoP = configoptional.Some(DPoPConfig{Algorithm: algorithmES256})
	}
	for _, c := range change {
		c(cfg)
	}
	require.NoError(t, confmap.Validate(cfg))
	set := extensiontest.NewNopSettings(NewFactory().Type())
	core, logs := observer.New(zap.DebugLevel)
	set.Logger = zap.New(core)
	ext, err := NewFactory().Create(t.Context(), set, cfg)
	require.NoError(t, err)
	a := ext.(*authenticator)
	require.NoError(t, a.Start(t.Context(), componenttest.NewNopHost()))
	base := &http.Transport{}
	through, err := a.RoundTripper(base)
	require.NoError(t, err)
	t.Cleanup(func() {
		base.CloseIdleConnections()
		require.NoError(t, a.Shutdown(context.Background()))
		for _, entry := range logs.All() {
			assert.NotContains(t, fmt.Sprint(entry.Message, entry.ContextMap()), "s3cret")
		}
	})
	return &rig{authenticator: a, client: &http.Client{Transport: through}, logs: logs}
}

func (r *rig) post(t *testing.T, target string) (int, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader("payload"))
	require.NoError(t, err)
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Body.Close()
}

func (r *rig) mustPost(t *testing.T, target string) {
	t.Helper()
	status, err := r.post(t, target)
	require.NoError(t, err)
	require.Equal(t, http.StatusNoContent, status)
}

func TestBearerTokenIsSentWithEachRequest(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"basic": func(*Config) {},
		"post":  func(c *Config) { c.ClientAuth = clientAuthPost },
		"secret in a file": func(c *Config) {
			c.ClientSecret, c.ClientSecretFile = "", filepath.Join(t.TempDir(), "secret")
			require.NoError(t, os.WriteFile(c.ClientSecretFile, []byte(clientSecret+"\n"), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, false)
			r := newRig(t, w, change, func(c *Config) {
				c.Scopes, c.Audience = []string{"runtime:write", "x"}, "https://backend.example.com"
				c.EndpointParams = map[string]configopaque.String{"resource": "urn:x"}
			})
			for range 3 {
				r.mustPost(t, w.resource.URL+"/events?x=1")
			}
			require.Len(t, w.forms, 1, "one token for all requests")
			assert.Equal(t, []string{"runtime:write x"}, w.forms[0]["scope"])
			assert.Equal(t, []string{"https://backend.example.com"}, w.forms[0]["audience"])
			assert.Equal(t, []string{"urn:x"}, w.forms[0]["resource"])
			assert.Equal(t, []string{"POSTpayload", "POSTpayload", "POSTpayload"}, w.bodies)
		})
	}
}

func TestOneTokenIsUsedWhenManyRequestsStartAtOnce(t *testing.T) {
	w := newWorld(t, true)
	w.resProof.require("n")
	r := newRig(t, w)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 5 {
				status, err := r.post(t, w.resource.URL+"/events")
				assert.NoError(t, err) //nolint:testifylint // not the goroutine of the test
				assert.Equal(t, http.StatusNoContent, status)
			}
		})
	}
	wg.Wait()
	assert.Len(t, w.issued, 1, "one token for all requests")
	assert.Len(t, w.bodies, 100)
}

func TestStartSucceedsWhenTheAuthorizationServerIsDown(t *testing.T) {
	w := newWorld(t, false)
	w.down = true
	r := newRig(t, w)
	for range 3 {
		_, err := r.post(t, w.resource.URL)
		require.ErrorContains(t, err, "authenticate the request: get a token from "+w.auth.URL+"/token: answered 503 Service Unavailable: temporarily_unavailable")
		assert.NotContains(t, err.Error(), "s3cret")
	}
	assert.Empty(t, w.bodies)
	assert.Equal(t, 1, r.logs.FilterMessageSnippet("Getting a token failed").Len(), "logged once")
	w.mu.Lock()
	w.down = false
	w.mu.Unlock()
	require.Eventually(t, func() bool { status, err := r.post(t, w.resource.URL); return err == nil && status == 204 }, 30*time.Second, 50*time.Millisecond)
	assert.Equal(t, 1, r.logs.FilterMessageSnippet("Getting a token succeeded again").Len())
}

func TestErrorsContainNoSecret(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Config)
		dpop   bool
		want   string
	}{
		"wrong secret":          {func(c *Config) { c.ClientSecret = "s3cret-of-old" }, false, "401 Unauthorized: invalid_client"},
		"no server":             {func(c *Config) { c.TokenURL = "http://127.0.0.1:1/token?key=s3cret" }, false, "get a token from http://127.0.0.1:1/token: "},
		"no secret file":        {func(c *Config) { c.ClientSecret, c.ClientSecretFile = "", "/nonexistent/secret" }, false, "read client_secret_file"},
		"bearer where bound":    {func(c *Config) { c.DPoP = configoptional.Some(DPoPConfig{Algorithm: algorithmES256}) }, false, "its type is not DPoP"},
		"bound without a proof": {func(c *Config) { c.DPoP = configoptional.Default(DPoPConfig{}) }, true, "400 Bad Request: invalid_dpop_proof"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tc.dpop)
			r := newRig(t, w, tc.change)
			_, err := r.post(t, w.resource.URL)
			require.ErrorContains(t, err, tc.want)
			assert.NotContains(t, err.Error(), "s3cret")
		})
	}
}

// Neither the server's response is quoted nor its redirect followed.
func TestErrorsContainNoSecretWhenTheTokenEndpointIsHostile(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"the secret as the error": {func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(rw, `{"error":"bad secret: `+clientSecret+`"}`)
		}, "answered 401 Unauthorized; check"},
		"another address": {func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, other.URL, http.StatusTemporaryRedirect)
		}, "answered 307 Temporary Redirect"},
	} {
		t.Run(name, func(t *testing.T) {
			endpoint := httptest.NewServer(tc.answer)
			defer endpoint.Close()
			w := newWorld(t, false)
			r := newRig(t, w, func(c *Config) { c.TokenURL = endpoint.URL })
			_, err := r.post(t, w.resource.URL)
			require.ErrorContains(t, err, tc.want)
			assert.NotContains(t, err.Error(), clientSecret)
			assert.Zero(t, elsewhere.Load())
		})
	}
}

func TestTokenRequestFailsWhenTheServerSwitchesProtocols(t *testing.T) {
	endpoint := httptest.NewServer(proxy.Switching(t))
	defer endpoint.Close()
	w := newWorld(t, false)
	r := newRig(t, w, func(c *Config) { c.TokenURL = endpoint.URL })
	_, err := r.post(t, w.resource.URL)
	require.ErrorContains(t, err, "101 Switching Protocols")
}
