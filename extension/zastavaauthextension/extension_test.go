// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavaauthextension

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
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
	cfg.TokenURL, cfg.ClientID, cfg.ClientSecret, cfg.TLS.Insecure = w.auth.URL+"/token", clientID, clientSecret, true
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

func keyFile(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	return name
}

func TestDPoPTokenIsSentWithAProofOfItsKey(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	for name, cfg := range map[string]DPoPConfig{
		"P-256, generated":   {Algorithm: algorithmES256},
		"Ed25519, generated": {Algorithm: algorithmEd25519},
		"P-256 of a file":    {KeyFile: keyFile(t, ec)},
		"Ed25519 of a file":  {KeyFile: keyFile(t, ed)},
	} {
		for _, nonces := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, nonces %t", name, nonces), func(t *testing.T) {
				w := newWorld(t, true)
				if nonces {
					w.authProofs.require("first-of-auth")
					w.resProof.require("first-of-resource")
				}
				r := newRig(t, w, func(c *Config) { c.DPoP = configoptional.Some(cfg) })
				for range 5 {
					r.mustPost(t, w.resource.URL+"/base/events?query=left+out")
				}
				want := []string(nil)
				if nonces {
					want = []string{"use_dpop_nonce", "use_dpop_nonce"} // once for each server
					w.resProof.require("second-of-resource")
					r.mustPost(t, w.resource.URL+"/base/events")
					want = append(want, "use_dpop_nonce")
				}
				assert.Equal(t, want, w.refusals)
				assert.Len(t, w.issued, 1)
				for _, jkt := range w.issued {
					assert.Equal(t, r.prover.thumbprint, jkt)
				}
			})
		}
	}
}

// The verifier of these tests must reject wrong proofs; otherwise the tests would prove nothing.
func TestVerifierRejectsWrongProofs(t *testing.T) {
	p, err := newProver(&DPoPConfig{Algorithm: algorithmES256})
	require.NoError(t, err)
	other, err := newProver(&DPoPConfig{Algorithm: algorithmES256})
	require.NoError(t, err)
	target, err := url.Parse("https://backend.example.com/events")
	require.NoError(t, err)
	fresh := func(nonce string) *verifier { return &verifier{nonce: nonce, seen: map[string]bool{}} }
	made := func(method, token string) []string {
		proof, err := p.proof(method, target, token)
		require.NoError(t, err)
		return []string{proof}
	}
	good := made("POST", "token")
	v := fresh("")
	_, err = v.verify(good, "POST", target.String(), "token")
	require.NoError(t, err)
	_, err = v.verify(good, "POST", target.String(), "token")
	require.EqualError(t, err, "jti", "replayed")

	for name, tc := range map[string]struct {
		proof              []string
		method, url, token string
		nonce              string
		want               string
	}{
		"htm":       {good, "GET", target.String(), "token", "", "htm"},
		"htu":       {good, "POST", target.String() + "/x", "token", "", "htu"},
		"ath":       {good, "POST", target.String(), "another", "", "ath"},
		"no ath":    {made("POST", ""), "POST", target.String(), "token", "", "ath"},
		"nonce":     {good, "POST", target.String(), "token", "n", "nonce"},
		"two":       {append(made("POST", "token"), good...), "POST", target.String(), "token", "", "not one proof"},
		"signature": {[]string{good[0][:len(good[0])-8] + "AAAAAAAA"}, "POST", target.String(), "token", "", "signature is invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := fresh(tc.nonce).verify(tc.proof, tc.method, tc.url, tc.token)
			require.ErrorContains(t, err, tc.want)
		})
	}
	t.Run("stale", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			old := made("POST", "token")
			time.Sleep(2 * time.Minute)
			_, err := fresh("").verify(old, "POST", target.String(), "token")
			require.EqualError(t, err, "iat")
		})
	})
	a, err := fresh("").verify(made("GET", "x"), "GET", target.String(), "x")
	require.NoError(t, err)
	assert.Equal(t, p.thumbprint, a)
	assert.NotEqual(t, p.thumbprint, other.thumbprint)
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

// The latest valid nonce of a server is used (RFC 9449 section 8.2); the number of servers is limited.
func TestLatestValidNonceIsUsed(t *testing.T) {
	p, err := newProver(&DPoPConfig{Algorithm: algorithmES256})
	require.NoError(t, err)
	target, err := url.Parse("https://backend.example.com/x")
	require.NoError(t, err)
	for nonce, good := range map[string]bool{
		"": false, "a": true, strings.Repeat("n", maxNonce): true, strings.Repeat("n", maxNonce+1): false, "two words": false, "\xff": false,
	} {
		assert.Equal(t, good, p.storeNonce(target, http.Header{http.CanonicalHeaderKey(headerNonce): {nonce}}), nonce)
	}
	for i := range 10 * maxOrigins {
		u := &url.URL{Scheme: "https", Host: fmt.Sprintf("%d.example.com", i)}
		require.True(t, p.storeNonce(u, http.Header{http.CanonicalHeaderKey(headerNonce): {"n"}}))
		require.LessOrEqual(t, len(p.nonces), maxOrigins)
	}

	var proofs []string
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		proofs = append(proofs, r.Header.Get(headerProof))
		rw.Header().Set(headerNonce, fmt.Sprintf("after-%d", len(proofs)))
	}))
	defer srv.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for range 3 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, nil)
		require.NoError(t, err)
		resp, err := p.do(transport, req, "", wantsNonceInHeader)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	var nonces []any
	for _, proof := range proofs {
		raw, err := base64.RawURLEncoding.DecodeString(strings.Split(proof, ".")[1])
		require.NoError(t, err)
		claims := map[string]any{}
		require.NoError(t, json.Unmarshal(raw, &claims))
		nonces = append(nonces, claims["nonce"])
	}
	assert.Equal(t, []any{nil, "after-1", "after-2"}, nonces)
}

func TestTokenRequestFailsWhenTheServerSwitchesProtocols(t *testing.T) {
	endpoint := httptest.NewServer(proxy.Switching(t))
	defer endpoint.Close()
	w := newWorld(t, false)
	r := newRig(t, w, func(c *Config) { c.TokenURL = endpoint.URL })
	_, err := r.post(t, w.resource.URL)
	require.ErrorContains(t, err, "101 Switching Protocols")
}

func TestKeyFileIsRejectedWhenItHasNoUsableKey(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	text := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(text, []byte("s3cret"), 0o600))
	der := filepath.Join(t.TempDir(), "der")
	require.NoError(t, os.WriteFile(der, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("s3cret")}), 0o600))
	for name, tc := range map[string]struct{ file, want string }{
		"none":   {"/nonexistent/key", "read dpop::key_file"},
		"no PEM": {text, "is not a PKCS #8 private key in PEM"},
		"no key": {der, "cannot be read as PKCS #8"},
		"RSA":    {keyFile(t, rsaKey), "neither an Ed25519 nor a P-256 key"},
		"P-384":  {keyFile(t, p384), "neither an Ed25519 nor a P-256 key"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newProver(&DPoPConfig{KeyFile: tc.file})
			require.ErrorContains(t, err, tc.want)
			assert.NotContains(t, err.Error(), "s3cret")
		})
	}
}

func TestValidateReportsEachFaultWithoutSecrets(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no URL":        {func(c *Config) { c.TokenURL = "" }, "token_url is empty"},
		"another":       {func(c *Config) { c.TokenURL = "ftp://u:s3cret@h" }, "token_url is not an https URL"},
		"user":          {func(c *Config) { c.TokenURL = "https://u:s3cret@h" }, "token_url has a user"},
		"clear":         {func(c *Config) { c.TokenURL = "http://h" }, "would be sent in plain text"},
		"no client":     {func(c *Config) { c.ClientID = "" }, "client_id is empty"},
		"no secret":     {func(c *Config) { c.ClientSecret = "" }, "either client_secret or client_secret_file"},
		"two secrets":   {func(c *Config) { c.ClientSecretFile = "x" }, "either client_secret or client_secret_file"},
		"style":         {func(c *Config) { c.ClientAuth = "x" }, `client_auth "x" is unknown`},
		"parameter":     {func(c *Config) { c.EndpointParams = map[string]configopaque.String{"scope": "s3cret"} }, "endpoint_params::scope"},
		"timeout":       {func(c *Config) { c.Timeout = 0 }, "timeout 0s"},
		"expiry buffer": {func(c *Config) { c.ExpiryBuffer = -1 }, "expiry_buffer"},
		"refresh ahead": {func(c *Config) { c.RefreshAhead = -1 }, "refresh_ahead"},
		"algorithm":     {func(c *Config) { c.DPoP = configoptional.Some(DPoPConfig{Algorithm: "RS256"}) }, `algorithm "RS256" is unknown`},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := createDefaultConfig().(*Config)
			cfg.TokenURL, cfg.ClientID, cfg.ClientSecret = "https://idp.example.com/token", clientID, clientSecret
			require.NoError(t, confmap.Validate(cfg))
			tc.change(cfg)
			err := confmap.Validate(cfg)
			require.ErrorContains(t, err, tc.want)
			assert.NotContains(t, err.Error(), "s3cret")
		})
	}
}

func TestDPoPIsOnWhenItsSectionExists(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, confmap.NewFromStringMap(map[string]any{"client_id": "a"}).Unmarshal(cfg))
	assert.False(t, cfg.DPoP.HasValue())
	require.NoError(t, confmap.NewFromStringMap(map[string]any{"dpop": map[string]any{"algorithm": "Ed25519"}}).Unmarshal(cfg))
	require.True(t, cfg.DPoP.HasValue())
	assert.Equal(t, algorithmEd25519, cfg.DPoP.Get().Algorithm)
}
