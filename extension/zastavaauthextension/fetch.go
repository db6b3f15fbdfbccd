// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavaauthextension

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/zastava-otel/zastava/internal/credentials"
	"github.com/zastava-otel/zastava/internal/fileaccess"
	"github.com/zastava-otel/zastava/internal/limit"
)

const (
	maxResponseBytes = 256 << 10 // of the token endpoint; tokens must fit in a header, which servers bound to 8 to 64 KiB
	maxQuotedBytes   = 512       // of an error that a server may have chosen
)

// responseJSON bounds an answer of the token endpoint before it is decoded.
var responseJSON = limit.JSON{Nesting: 16, Items: 1024, Digits: 32}

// fetcher requests tokens from the token endpoint.
type fetcher struct {
	config *Config
	client *http.Client
	shown  string // the token URL without query, for errors
	bound  bool   // tokens must be bound by DPoP
	files  *fileaccess.Warner
	mask   *credentials.Masker // of what errors quote
}

func newFetcher(cfg *Config, base http.RoundTripper, p *prover, files *fileaccess.Warner) (*fetcher, error) {
	u, err := url.Parse(cfg.TokenURL)
	if err != nil {
		return nil, errors.New("token_url is not a URL") // the error would quote it
	}
	mask := &credentials.Masker{}
	mask.Add(string(cfg.ClientSecret))
	for _, value := range cfg.EndpointParams {
		mask.Add(string(value))
	}
	base = bounded{base, mask}
	if p != nil {
		base = &withProof{base: base, prover: p}
	}
	return &fetcher{
		config: cfg,
		client: &http.Client{
			Transport: base, Timeout: cfg.Timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the secret must not be sent elsewhere
		},
		shown: (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String(),
		bound: p != nil,
		files: files,
		mask:  mask,
	}, nil
}

// fetch requests a new token.
func (f *fetcher) fetch(ctx context.Context) (*oauth2.Token, error) {
	secret := string(f.config.ClientSecret)
	if name := f.config.ClientSecretFile; name != "" {
		f.files.Secret("client_secret_file", name)
		raw, err := fileaccess.Read("client_secret_file", name, maxSecretFile)
		if err != nil {
			return nil, err
		}
		if secret = strings.TrimSpace(string(raw)); secret == "" {
			return nil, fmt.Errorf("client_secret_file %s is empty: write the secret to it", name)
		}
	}
	f.mask.AddRecent(secret)
	params := url.Values{}
	for name, value := range f.config.EndpointParams {
		params.Set(name, string(value))
	}
	if f.config.Audience != "" {
		params.Set("audience", f.config.Audience)
	}
	style := oauth2.AuthStyleInHeader
	if f.config.ClientAuth == clientAuthPost {
		style = oauth2.AuthStyleInParams
	}
	grant := clientcredentials.Config{
		ClientID: f.config.ClientID, ClientSecret: secret, TokenURL: f.config.TokenURL,
		Scopes: f.config.Scopes, EndpointParams: params, AuthStyle: style,
	}
	token, err := grant.Token(context.WithValue(ctx, oauth2.HTTPClient, f.client))
	if err != nil {
		return nil, fmt.Errorf("get a token from %s: %w", f.shown, f.withoutSecrets(err))
	}
	want := "Bearer"
	if f.bound {
		want = "DPoP"
	}
	if token.TokenType != "" && !strings.EqualFold(token.TokenType, want) || token.TokenType == "" && f.bound {
		return nil, fmt.Errorf("get a token from %s: its type is not %s; %s", f.shown, want,
			map[bool]string{true: "configure the server to bind this client's tokens by DPoP, or remove dpop", false: "add dpop if the server binds tokens to keys"}[f.bound])
	}
	return token, nil
}

// withoutSecrets removes the parts of err that come from the server's answer or from a URL, and masks the rest: a server can have the
// HTTP client quote it.
func (f *fetcher) withoutSecrets(err error) error {
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		status := "an error"
		if refused.Response != nil {
			status = fmt.Sprintf("%d %s", refused.Response.StatusCode, http.StatusText(refused.Response.StatusCode))
		}
		if code := refused.ErrorCode; code != "" && len(code) <= 64 && strings.Trim(code, "abcdefghijklmnopqrstuvwxyz_") == "" && f.mask.Text(code, len(code)) == code {
			status += ": " + code // a code of RFC 6749 section 5.2 or one of the same form
		}
		return fmt.Errorf("answered %s; check client_id, the secret and scopes", status)
	}
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		err = urlErr.Err
	} else if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return errors.New("the answer has no token (RFC 6749 section 5.1); check token_url") // the cause may quote the answer
	}
	if text := err.Error(); f.mask.Text(text, maxQuotedBytes) != text {
		return errors.New(f.mask.Text(text, maxQuotedBytes))
	}
	return err
}

// bounded reads answers within bounds, before anything decodes them, and has the credentials of requests masked.
type bounded struct {
	http.RoundTripper

	mask *credentials.Masker
}

// RoundTrip turns a 101 response into an error: its body is the connection, which http.Client.Timeout does not limit.
func (t bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	t.mask.AddRequest(req.Header)
	resp, err := t.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		_ = resp.Body.Close()
		return nil, errors.New("answered 101 Switching Protocols, which was not requested")
	}
	raw, err := io.ReadAll(limit.Reader(resp.Body, maxResponseBytes))
	_ = resp.Body.Close()
	if err == nil && bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		err = limit.CheckJSON(raw, responseJSON)
	}
	if err != nil {
		return nil, fmt.Errorf("read the answer %d %s: %w", resp.StatusCode, http.StatusText(resp.StatusCode), err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(raw))
	return resp, nil
}

// withProof adds a proof to token requests and repeats a request once if the server requires a nonce.
type withProof struct {
	base   http.RoundTripper
	prover *prover
}

func (t *withProof) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.prover.do(t.base, req, "", wantsNonceInBody)
}

// wantsNonceInBody reads the error code of RFC 6749 section 5.2 and restores the body.
func wantsNonceInBody(resp *http.Response) bool {
	if resp.StatusCode != http.StatusBadRequest && resp.StatusCode != http.StatusUnauthorized {
		return false
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxResponseBytes))
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(raw))
	var answer struct {
		Error string `json:"error"`
	}
	return err == nil && json.Unmarshal(raw, &answer) == nil && answer.Error == useNonce
}
