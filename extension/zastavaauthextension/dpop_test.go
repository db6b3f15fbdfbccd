// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavaauthextension

import (
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
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configoptional"
)

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
