// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavaauthextension

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	clientID     = "agent"
	clientSecret = "s3cret+/ %"
)

// verifier checks proofs by RFC 9449 section 4.3 with golang-jwt and its own key decoding. It shares no code with the code that
// creates them.
type verifier struct {
	mu    sync.Mutex
	nonce string // required unless empty
	seen  map[string]bool
}

var errNonce = errors.New("nonce")

func b64(s string) []byte {
	raw, _ := base64.RawURLEncoding.DecodeString(s)
	return raw
}

// keyOf returns the key in a proof's header and its RFC 7638 thumbprint.
func keyOf(header map[string]any) (crypto.PublicKey, string, error) {
	jwk, ok := header["jwk"].(map[string]any)
	if !ok || jwk["d"] != nil {
		return nil, "", errors.New("jwk is missing or private")
	}
	text := func(name string) string { v, _ := jwk[name].(string); return v }
	var canonical string
	var key crypto.PublicKey
	switch text("kty") + text("crv") + fmt.Sprint(header["alg"]) {
	case "ECP-256ES256":
		canonical = fmt.Sprintf(`{"crv":"P-256","kty":"EC","x":%q,"y":%q}`, text("x"), text("y"))
		var err error
		point := append(append([]byte{4}, b64(text("x"))...), b64(text("y"))...) // SEC 1, uncompressed
		if key, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point); err != nil {
			return nil, "", err
		}
	case "OKPEd25519EdDSA":
		canonical = fmt.Sprintf(`{"crv":"Ed25519","kty":"OKP","x":%q}`, text("x"))
		key = ed25519.PublicKey(b64(text("x")))
	default:
		return nil, "", errors.New("key or alg")
	}
	sum := sha256.Sum256([]byte(canonical))
	return key, base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// verify checks a proof and returns the thumbprint of its key.
func (v *verifier) verify(proofs []string, method, target, token string) (jkt string, err error) {
	if len(proofs) != 1 {
		return "", errors.New("not one proof")
	}
	claims := jwt.MapClaims{}
	_, err = jwt.NewParser(jwt.WithValidMethods([]string{"ES256", "EdDSA"}), jwt.WithoutClaimsValidation()).ParseWithClaims(proofs[0], claims,
		func(t *jwt.Token) (any, error) {
			if t.Header["typ"] != "dpop+jwt" {
				return nil, errors.New("typ")
			}
			var key crypto.PublicKey
			var err error
			key, jkt, err = keyOf(t.Header)
			return key, err
		})
	if err != nil {
		return "", err
	}
	text := func(name string) string { s, _ := claims[name].(string); return s }
	iat, err := claims.GetIssuedAt()
	v.mu.Lock()
	defer v.mu.Unlock()
	switch jti := text("jti"); {
	case text("htm") != method:
		return "", errors.New("htm")
	case text("htu") != target:
		return "", errors.New("htu")
	case err != nil || iat == nil || time.Since(iat.Time).Abs() > time.Minute:
		return "", errors.New("iat")
	case jti == "" || v.seen[jti]:
		return "", errors.New("jti")
	default:
		v.seen[jti] = true
	}
	want := ""
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		want = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	if text("ath") != want {
		return "", errors.New("ath")
	}
	if text("nonce") != v.nonce {
		return "", errNonce
	}
	return jkt, nil
}

func (v *verifier) require(nonce string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.nonce = nonce
}

func (v *verifier) required() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.nonce
}

// world is an authorization server and a resource server.
type world struct {
	auth, resource       *httptest.Server
	authProofs, resProof verifier
	dpop                 bool

	mu        sync.Mutex
	issued    map[string]string // token -> thumbprint
	forms     []map[string][]string
	bodies    []string
	refusals  []string
	expiresIn int
	down      bool
}

func newWorld(t *testing.T, dpop bool) *world {
	t.Helper()
	w := &world{dpop: dpop, issued: map[string]string{}, expiresIn: 3600}
	w.authProofs.seen, w.resProof.seen = map[string]bool{}, map[string]bool{}
	w.auth = httptest.NewServer(http.HandlerFunc(w.token))
	w.resource = httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(w.auth.Close)
	t.Cleanup(w.resource.Close)
	return w
}

func (w *world) refuse(rw http.ResponseWriter, status int, why string) {
	w.refusals = append(w.refusals, why)
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_, _ = fmt.Fprintf(rw, `{"error":%q,"error_description":"you sent s3cret"}`, why)
}

func (w *world) token(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		w.refuse(rw, http.StatusServiceUnavailable, "temporarily_unavailable")
		return
	}
	jkt := ""
	if w.dpop {
		var err error
		jkt, err = w.authProofs.verify(r.Header.Values("DPoP"), r.Method, w.auth.URL+"/token", "")
		if errors.Is(err, errNonce) {
			rw.Header().Set("DPoP-Nonce", w.authProofs.required())
			w.refuse(rw, http.StatusBadRequest, "use_dpop_nonce")
			return
		}
		if err != nil {
			w.refuse(rw, http.StatusBadRequest, "invalid_dpop_proof")
			return
		}
	}
	_ = r.ParseForm()
	w.forms = append(w.forms, r.PostForm)
	id, secret, _ := r.BasicAuth()
	if id == "" {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	if (secret != clientSecret && secret != "s3cret%2B%2F+%25") || id != clientID || r.PostForm.Get("grant_type") != "client_credentials" {
		w.refuse(rw, http.StatusUnauthorized, "invalid_client")
		return
	}
	token := fmt.Sprintf("token-%d", len(w.issued))
	w.issued[token] = jkt
	kind := "Bearer"
	if w.dpop {
		kind = "DPoP"
	}
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(map[string]any{"access_token": token, "token_type": kind, "expires_in": w.expiresIn}) //nolint:errchkjson // of strings
}

func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	jkt, known := w.issued[token]
	if !known || scheme != map[bool]string{true: "DPoP", false: "Bearer"}[w.dpop] {
		w.refuse(rw, http.StatusUnauthorized, "invalid_token")
		return
	}
	if w.dpop {
		got, err := w.resProof.verify(r.Header.Values("DPoP"), r.Method, w.resource.URL+r.URL.Path, token)
		if errors.Is(err, errNonce) {
			rw.Header().Set("DPoP-Nonce", w.resProof.required())
			rw.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce", error_description="a nonce is needed"`)
			w.refuse(rw, http.StatusUnauthorized, "use_dpop_nonce")
			return
		}
		if err != nil || got != jkt {
			w.refuse(rw, http.StatusUnauthorized, fmt.Sprint(err))
			return
		}
	}
	var body strings.Builder
	_, _ = fmt.Fprint(&body, r.Method)
	buffer := make([]byte, 1024)
	for {
		n, err := r.Body.Read(buffer)
		body.Write(buffer[:n])
		if err != nil {
			break
		}
	}
	w.bodies = append(w.bodies, body.String())
	rw.WriteHeader(http.StatusNoContent)
}
