// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavaauthextension

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configoptional"

	"github.com/zastava-otel/zastava/internal/credentials"
)

// nameLike is a secret of the form of an error code, which errors show.
const nameLike = "correct_horse_battery_staple"

// A token endpoint that sends back all that it received gets no credential into an error or a log.
func TestEchoedCredentialsAreMasked(t *testing.T) {
	echo := func(r *http.Request) string {
		_ = r.ParseForm()
		_, secret, _ := r.BasicAuth()
		return strings.Join(append([]string{r.Form.Get("assertion"), r.Form.Get("client_secret"), r.Form.Encode(), r.Header.Get("Authorization"), r.Header.Get("Dpop")}, secret), " ")
	}
	answers := map[string]func(w http.ResponseWriter, r *http.Request){
		"as the error": func(w http.ResponseWriter, r *http.Request) {
			_ = r.ParseForm()
			_, secret, _ := r.BasicAuth()
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			text, err := json.Marshal(map[string]string{"error": r.Form.Get("client_secret") + secret, "error_description": echo(r)})
			assert.NoError(t, err)
			_, _ = w.Write(text)
		},
		"as the assertion": func(w http.ResponseWriter, r *http.Request) {
			_ = r.ParseForm()
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprintf(w, `{"error":%q}`, r.Form.Get("assertion"))
		},
		"as the token's type": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			text, err := json.Marshal(map[string]string{"access_token": "t", "token_type": echo(r)})
			assert.NoError(t, err)
			_, _ = w.Write(text)
		},
		"as a page": func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, echo(r)) },
		"as JSON that is none": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"access_token":`+echo(r))
		},
		"as a header": func(w http.ResponseWriter, r *http.Request) {
			text := echo(r)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\n" + text + "\r\n\r\n"))
				_ = conn.Close()
			}
		},
	}
	for desc, answer := range answers {
		for style, change := range map[string]func(*Config){
			"basic": func(*Config) {},
			"post":  func(c *Config) { c.ClientAuth = clientAuthPost },
			"file": func(c *Config) {
				c.ClientSecret, c.ClientSecretFile = "", filepath.Join(t.TempDir(), "secret")
				require.NoError(t, os.WriteFile(c.ClientSecretFile, []byte(nameLike), 0o600))
			},
		} {
			t.Run(desc+" "+style, func(t *testing.T) {
				endpoint := httptest.NewServer(http.HandlerFunc(answer))
				defer endpoint.Close()
				w := newWorld(t, false)
				r := newRig(t, w, func(c *Config) {
					c.TokenURL, c.ClientSecret = endpoint.URL, nameLike
					c.EndpointParams = map[string]configopaque.String{"assertion": "another_secret_of_the_client"}
					c.DPoP = configoptional.Some(DPoPConfig{Algorithm: algorithmES256})
				}, change)
				_, err := r.post(t, w.resource.URL)
				require.Error(t, err)
				text := err.Error()
				var textSb93 strings.Builder
				for _, entry := range r.logs.All() {
					textSb93.WriteString(fmt.Sprint(entry.Message, entry.ContextMap()))
				}
				text += textSb93.String()
				basic := base64.StdEncoding.EncodeToString([]byte(clientID + ":" + nameLike))
				for _, secret := range []string{nameLike, "another_secret_of_the_client", basic} {
					for i := 0; i+14 <= len(secret); i++ {
						require.NotContains(t, text, secret[i:i+14])
					}
				}
				assert.NotContains(t, text, "eyJ", "a proof")
			})
		}
	}
}

func TestCredentialsAreNotSentInPlainText(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	cfg.TokenURL, cfg.ClientID, cfg.ClientSecret = "http://idp.example.com/token?x=s3cret", clientID, clientSecret
	err := cfg.Validate()
	require.ErrorIs(t, err, credentials.ErrPlain)
	require.ErrorContains(t, err, "token_url http://idp.example.com/token is not https, so the client's secret would be sent in plain text")
	cfg.InsecureCredentials = true
	require.NoError(t, cfg.Validate())

	w := newWorld(t, false)
	r := newRig(t, w)
	_, err = r.post(t, "http://backend.invalid/events")
	require.ErrorIs(t, err, credentials.ErrPlain)
	assert.Empty(t, w.forms, "no token is requested for it")
}

// A client that follows redirects asks the extension again for each.
func TestTokenIsNotSentToTheTargetOfARedirect(t *testing.T) {
	w := newWorld(t, false)
	r := newRig(t, w)
	var elsewhere []string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		elsewhere = append(elsewhere, req.Header.Get("Authorization"))
	}))
	defer other.Close()
	redirecting := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer redirecting.Close()
	_, err := r.post(t, redirecting.URL)
	require.ErrorContains(t, err, "redirects to "+other.URL+", which does not get the credentials")
	assert.Empty(t, elsewhere)
}

func TestSecretFilesOfOthersAreReportedOnce(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files have no modes there")
	}
	w := newWorld(t, false)
	r := newRig(t, w, func(c *Config) {
		c.ClientSecret, c.ClientSecretFile = "", filepath.Join(t.TempDir(), "secret")
		require.NoError(t, os.WriteFile(c.ClientSecretFile, []byte(clientSecret), 0o600))
		require.NoError(t, os.Chmod(c.ClientSecretFile, 0o644))
	})
	for range 3 {
		_, err := r.tokens.fetch(t.Context())
		require.NoError(t, err)
	}
	lines := r.logs.FilterMessageSnippet("rights to a secret file").All()
	require.Len(t, lines, 1)
	assert.Contains(t, lines[0].ContextMap()["error"], "chmod go-rwx")

	_, err := loadKey(&DPoPConfig{KeyFile: "/dev/zero"})
	require.ErrorContains(t, err, "dpop::key_file: /dev/zero is not a regular file")
	large := filepath.Join(t.TempDir(), "large")
	require.NoError(t, os.WriteFile(large, make([]byte, maxSecretFile+1), 0o600))
	_, err = loadKey(&DPoPConfig{KeyFile: large})
	require.ErrorContains(t, err, "more than 65536 bytes")
}

func TestShownURLHasNoSecret(t *testing.T) {
	u, err := url.Parse("https://u:s3cret@h/p?k=s3cret#s3cret")
	require.NoError(t, err)
	assert.Equal(t, "https://h/p", credentials.Show(u))
}
