// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavaauthextension

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/zastava-otel/zastava/internal/fileaccess"
)

const (
	headerProof = "DPoP"
	headerNonce = "DPoP-Nonce"
	useNonce    = "use_dpop_nonce" // RFC 9449 sections 8 and 9

	maxSecretFile = 64 << 10 // bytes of a file with a key or secret; a PEM file of a P-256 key has 241

	maxNonce   = 1024 // characters; a longer one is ignored
	maxOrigins = 64   // with a stored nonce
)

// prover creates DPoP proofs with one key and stores the nonces of the servers.
type prover struct {
	signer     jose.Signer
	thumbprint string // of the key, RFC 7638; tokens are bound to it

	mu     sync.Mutex
	nonces map[string]string // by origin
}

func newProver(cfg *DPoPConfig) (*prover, error) {
	key, err := loadKey(cfg)
	if err != nil {
		return nil, err
	}
	alg := jose.EdDSA
	if _, ok := key.(*ecdsa.PrivateKey); ok {
		alg = jose.ES256
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
	if err != nil {
		return nil, fmt.Errorf("create the DPoP signer: %w", err)
	}
	sum, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("compute the thumbprint of the DPoP key: %w", err)
	}
	return &prover{signer: signer, thumbprint: base64.RawURLEncoding.EncodeToString(sum), nonces: map[string]string{}}, nil
}

// loadKey reads or generates the key. Its errors do not quote the file's content.
func loadKey(cfg *DPoPConfig) (crypto.Signer, error) {
	if cfg.KeyFile == "" {
		if cfg.Algorithm == algorithmEd25519 {
			_, key, err := ed25519.GenerateKey(rand.Reader)
			return key, err
		}
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	raw, err := fileaccess.Read("dpop::key_file", cfg.KeyFile, maxSecretFile)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("dpop::key_file %s is not a PKCS #8 private key in PEM: create one with openssl genpkey", cfg.KeyFile)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("dpop::key_file %s cannot be read as PKCS #8", cfg.KeyFile)
	}
	switch key := key.(type) {
	case ed25519.PrivateKey:
		return key, nil
	case *ecdsa.PrivateKey:
		if key.Curve == elliptic.P256() {
			return key, nil
		}
	}
	return nil, fmt.Errorf("dpop::key_file %s is neither an Ed25519 nor a P-256 key: use one of these", cfg.KeyFile)
}

// proof creates the proof of one request. token is the access token of the request; empty for the token endpoint.
func (p *prover) proof(method string, target *url.URL, token string) (string, error) {
	claims := map[string]any{
		"jti": rand.Text(),
		"htm": method,
		"htu": (&url.URL{Scheme: target.Scheme, Host: target.Host, Path: target.Path, RawPath: target.RawPath}).String(),
		"iat": time.Now().Unix(),
	}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	p.mu.Lock()
	if nonce := p.nonces[origin(target)]; nonce != "" {
		claims["nonce"] = nonce
	}
	p.mu.Unlock()
	out, err := jwt.Signed(p.signer).Claims(claims).Serialize()
	if err != nil {
		return "", errors.New("sign a DPoP proof") // the cause may contain key material
	}
	return out, nil
}

// storeNonce stores the nonce of a response and reports whether it has a valid one. The latest replaces earlier ones (RFC 9449 section 8.2).
func (p *prover) storeNonce(target *url.URL, header http.Header) bool {
	nonce := header.Get(headerNonce)
	if nonce == "" || len(nonce) > maxNonce || strings.ContainsFunc(nonce, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.nonces[origin(target)]; !known && len(p.nonces) >= maxOrigins {
		clear(p.nonces)
	}
	p.nonces[origin(target)] = nonce
	return true
}

// do sends req with a proof. If the response requires a nonce and contains one, it sends req once more with a new proof. A request
// whose body cannot be read again is not repeated; the next request has the nonce.
func (p *prover) do(base http.RoundTripper, req *http.Request, token string, wantsNonce func(*http.Response) bool) (*http.Response, error) {
	body := req.Body
	for repeat := false; ; repeat = true {
		proof, err := p.proof(req.Method, req.URL, token)
		if err != nil {
			if body != nil {
				_ = body.Close()
			}
			return nil, err
		}
		r := req.Clone(req.Context())
		r.Body = body
		r.Header.Set(headerProof, proof)
		resp, err := base.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		if stored := p.storeNonce(req.URL, resp.Header); !stored || repeat || !wantsNonce(resp) {
			return resp, nil
		}
		if req.Body != nil && req.Body != http.NoBody {
			if req.GetBody == nil {
				return resp, nil
			}
			if body, err = req.GetBody(); err != nil {
				return resp, nil //nolint:nilerr // the caller handles the response
			}
		}
		_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be reused
		_ = resp.Body.Close()
	}
}
