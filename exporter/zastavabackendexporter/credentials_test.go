// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configauth"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.uber.org/zap/zapcore"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

const echoedToken = "tok-Zx9qT7wL2kP5vN8bM3hJ6rD4"

// echo answers with the headers that it received, in several forms.
func echo(code int, contentType string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var out strings.Builder
		for _, name := range []string{"Authorization", "X-Any"} {
			values := r.Header[name]
			for _, value := range values {
				escaped := ""
				var escapedSb41 strings.Builder
				for _, c := range value {
					escapedSb41.WriteString(fmt.Sprintf(`\u%04x`, c))
				}
				escaped += escapedSb41.String()
				for _, form := range []string{name + ": " + value, escaped, base64.StdEncoding.EncodeToString([]byte(value)), fmt.Sprintf("%x", value), value[len(value)/3:]} {
					fmt.Fprintln(&out, form)
				}
			}
		}
		w.Header().Set("Content-Type", contentType)
		switch {
		case contentType == backendapi.ProblemContentType:
			text, _ := json.Marshal(map[string]any{"title": out.String()[:min(out.Len(), 20000)], "errors": []backendapi.FieldError{{Field: "x", Detail: out.String()}}})
			w.WriteHeader(code)
			_, _ = w.Write(text)
		case code == http.StatusAccepted:
			text, _ := json.Marshal(backendapi.IngestResponse{Rejected: []backendapi.Rejected{{EventID: r.Header.Get("Authorization"), Code: r.Header.Get("Authorization"), Detail: out.String()}}})
			w.WriteHeader(code)
			_, _ = w.Write(text)
		default:
			w.WriteHeader(code)
			_, _ = w.Write([]byte(out.String()))
		}
	}
}

// A server that sends back all that it received gets no credential into a log, an error, a status, a metric or the quarantine.
func TestEchoedCredentialsAreMaskedEverywhere(t *testing.T) {
	basic := base64.StdEncoding.EncodeToString([]byte("agent:" + echoedToken))
	for desc, change := range map[string]func(*Config){
		"a header": func(c *Config) {
			c.ClientConfig.Headers = configopaque.MapList{{Name: "X-Any", Value: echoedToken}, {Name: "Authorization", Value: configopaque.String("Bearer " + echoedToken)}}
		},
		"basic": func(c *Config) {
			c.ClientConfig.Headers = configopaque.MapList{{Name: "Authorization", Value: configopaque.String("Basic " + basic)}}
		},
		"the user of the URL": func(c *Config) {
			c.ClientConfig.Endpoint = strings.Replace(c.ClientConfig.Endpoint, "http://", "http://agent:"+echoedToken+"@", 1)
		},
	} {
		for _, code := range []int{202, 302, 400, 401, 404, 418, 422, 500, 503} {
			for _, contentType := range []string{"text/html", "application/json", backendapi.ProblemContentType} {
				t.Run(fmt.Sprint(desc, " ", code, " ", contentType), func(t *testing.T) {
					srv := httptest.NewServer(echo(code, contentType))
					defer srv.Close()
					dir := t.TempDir()
					r := newFactsRig(t, srv.URL, change, withQuarantine(dir))
					seen := []any{r.push(stops(1)), r.facts.Push(t.Context(), onlySamples(1, 1))}
					for _, e := range r.host.Events() {
						seen = append(seen, e.Err())
					}
					encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "m"})
					for _, entry := range r.logs.All() {
						line, err := encoder.EncodeEntry(entry.Entry, entry.Context)
						require.NoError(t, err)
						seen = append(seen, line.String())
					}
					files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
					require.NoError(t, err)
					more, err := filepath.Glob(filepath.Join(dir, "*.ndjson"))
					require.NoError(t, err)
					for _, name := range append(files, more...) {
						raw, err := os.ReadFile(name)
						require.NoError(t, err)
						seen = append(seen, string(raw))
					}
					seen = append(seen, sums(t, r.telemetry, "events"), sums(t, r.telemetry, "facts"), sums(t, r.telemetry, "dropped"))
					text := fmt.Sprint(seen...)
					assert.Contains(t, text, map[bool]string{true: "[masked]", false: ""}[code >= 400])
					for _, secret := range []string{echoedToken, basic, fmt.Sprintf("%x", echoedToken)} {
						for i := 0; i+12 <= len(secret); i++ {
							require.NotContains(t, text, secret[i:i+12])
						}
					}
				})
			}
		}
	}
}

// tokenOfRequest is an authenticator whose token is known when a request is sent.
type tokenOfRequest struct {
	component.StartFunc
	component.ShutdownFunc
}

func (tokenOfRequest) RoundTripper(base http.RoundTripper) (http.RoundTripper, error) {
	return roundTripperFunc(func(req *http.Request) (*http.Response, error) {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer "+echoedToken)
		return base.RoundTrip(req)
	}), nil
}

func TestEchoedTokenOfTheAuthenticatorIsMasked(t *testing.T) {
	srv := httptest.NewServer(echo(401, "text/html"))
	defer srv.Close()
	id := component.MustNewID("tokens")
	r := newRig(t, srv.URL)
	r.config.ClientConfig.Auth = configoptional.Some(configauth.Config{AuthenticatorID: id})
	require.NoError(t, r.start(t.Context(), extensions{r.host, map[component.ID]component.Component{id: tokenOfRequest{}}}))
	err := r.push(stops(1))
	require.ErrorContains(t, err, "[masked]")
	for i := 0; i+12 <= len(echoedToken); i++ {
		require.NotContains(t, err.Error(), echoedToken[i:i+12])
	}
}

// Errors of the HTTP client quote what a server sent instead of an answer.
func TestEchoedCredentialsAreMaskedInErrorsOfTheClient(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nyou sent " + r.Header.Get("Authorization") + strings.Repeat("!", 4000) + "\r\n\r\n"))
	}))
	defer srv.Close()
	r := newRig(t, srv.URL, func(c *Config) {
		c.ClientConfig.Headers = configopaque.MapList{{Name: "Authorization", Value: "Bearer " + echoedToken}}
	})
	err := r.push(stops(1))
	require.ErrorContains(t, err, "[masked]")
	assert.NotContains(t, err.Error(), echoedToken)
	assert.Less(t, len(err.Error()), 2*maxQuotedBytes)
}

func TestCredentialsAreRefusedOnPlainConnections(t *testing.T) {
	auth := func(c *Config) {
		c.ClientConfig.Auth = configoptional.Some(configauth.Config{AuthenticatorID: component.MustNewID("bearertokenauth")})
	}
	header := func(c *Config) { c.ClientConfig.Headers = configopaque.MapList{{Name: "X-Api-Key", Value: "s3cret"}} }
	for _, tt := range []struct {
		desc   string
		change []func(*Config)
		want   string // empty: allowed
	}{
		{"no credentials", nil, ""},
		{"a header that is no credential", []func(*Config){func(c *Config) { c.ClientConfig.Headers = configopaque.MapList{{Name: "X-Cluster", Value: "a"}} }}, ""},
		{"auth", []func(*Config){auth}, "endpoint http://backend.example.com is not https, so the credentials of auth would be sent in plain text"},
		{"a header", []func(*Config){header}, "endpoint http://backend.example.com is not https, so the header X-Api-Key would be"},
		{"a user", []func(*Config){func(c *Config) { c.ClientConfig.Endpoint = "http://u:s3cret@backend.example.com" }}, "endpoint http://backend.example.com is not https, so its user and password would be"},
		{"auth, allowed", []func(*Config){auth, func(c *Config) { c.InsecureCredentials = true }}, ""},
		{"auth over https", []func(*Config){auth, func(c *Config) { c.ClientConfig.Endpoint = "https://backend.example.com" }}, ""},
		{"auth on loopback", []func(*Config){auth, func(c *Config) { c.ClientConfig.Endpoint = "http://127.0.0.1:8686" }}, ""},
		{"auth by a proxy to loopback", []func(*Config){auth, func(c *Config) {
			c.ClientConfig.Endpoint, c.ClientConfig.ProxyURL = "http://127.0.0.1:8686", "http://proxy.example.com:3128"
		}}, "proxy_url http://proxy.example.com:3128 is not https, so the credentials of auth would be"},
		{"auth over https by a proxy", []func(*Config){auth, func(c *Config) {
			c.ClientConfig.Endpoint, c.ClientConfig.ProxyURL = "https://backend.example.com", "http://proxy.example.com:3128"
		}}, ""},
		{"a proxy with a password", []func(*Config){func(c *Config) {
			c.ClientConfig.Endpoint, c.ClientConfig.ProxyURL = "https://backend.example.com", "http://u:s3cret@proxy.example.com:3128"
		}}, "proxy_url http://proxy.example.com:3128 is not https, so its user and password would be"},
		{"facts", []func(*Config){auth, func(c *Config) {
			c.ClientConfig.Endpoint, c.CallgraphID, c.FactsEndpoint = "https://backend.example.com", "g", "http://facts.example.com/x"
		}}, "facts_endpoint http://facts.example.com/x is not https"},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			cfg := createDefaultConfig().(*Config)
			cfg.ClientConfig.Endpoint, cfg.Tenant = "http://backend.example.com", "acme"
			for _, change := range tt.change {
				change(cfg)
			}
			err := cfg.Validate()
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "insecure_credentials")
			assert.NotContains(t, err.Error(), "s3cret")
		})
	}
}

// The environment is known at the start.
func TestCredentialsOfAPlainProxyOfTheEnvironmentAreRefused(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://u:s3cret@proxy.example.com:3128")
	t.Setenv("NO_PROXY", "")
	cfg := createDefaultConfig().(*Config)
	cfg.ClientConfig.Endpoint, cfg.Tenant = "https://backend.example.com", "acme"
	faults := cfg.plainFaults("the proxy of the environment", environmentProxy)
	require.Len(t, faults, 1)
	require.ErrorContains(t, faults[0], "the proxy of the environment http://proxy.example.com:3128 is not https")
	assert.NotContains(t, faults[0].Error(), "s3cret")
}

func TestAnswersWithTheWrongSchemeHaveARemedy(t *testing.T) {
	plain := newServer(t, accept)
	secure := unstarted(t, accept)
	secure.Config.ErrorLog = nil
	secure.StartTLS()
	for _, tt := range []struct{ desc, endpoint, remedy string }{
		{"HTTP to a TLS port", strings.Replace(secure.URL, "https://", "http://", 1), "write https:// in the exporter's endpoint"},
		{"TLS to an HTTP port", strings.Replace(plain.URL, "http://", "https://", 1), "write http:// in the exporter's endpoint"},
		{"a login page", newServer(t, answers(400, "text/html", "<html>Log in")).URL, "a proxy, a load balancer or a login page"},
		{"a TLS alert", newServer(t, func(w http.ResponseWriter, _ *request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = conn.Write([]byte("\x15\x03\x01\x00\x02\x02\x46\r\n\r\n"))
				_ = conn.Close()
			}
		}).URL, "write https:// in the exporter's endpoint"},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			e := newRig(t, tt.endpoint, withQuarantine(t.TempDir()))
			for range 2 {
				assert.Equal(t, stopIDs(3), retried(t, e.push(stops(3))))
			}
			assert.Empty(t, e.outcomes(t), "nothing is refused")
			require.Len(t, e.host.Events(), 1)
			require.ErrorContains(t, e.host.Events()[0].Err(), tt.remedy)
			assert.NotContains(t, e.host.Events()[0].Err().Error(), "certificate")
			lines := e.logs.FilterMessageSnippet("does not accept events").All()
			require.Len(t, lines, 1)
			assert.Contains(t, lines[0].ContextMap()["remedy"], tt.remedy)
		})
	}
}

func TestAccessOfOtherUsersIsReportedAtStart(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files have no modes there")
	}
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o770))
	for _, quarantine := range []string{dir, filepath.Dir(filepath.Join(dir, "facts"))} {
		cfg := createDefaultConfig().(*Config)
		cfg.Quarantine.Directory = quarantine
		err := (&connection{config: cfg}).checkAccess()
		require.ErrorContains(t, err, "quarantine::directory "+dir+" has mode 0770")
		require.ErrorContains(t, err, "chmod go-w "+dir)
	}
	require.NoError(t, os.Chmod(dir, 0o755))
	key := filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(key, nil, 0o600))
	require.NoError(t, os.Chmod(key, 0o644))
	r := newRig(t, "http://127.0.0.1:1", withQuarantine(dir))
	r.config.ClientConfig.TLS.KeyFile = key
	require.NoError(t, r.checkAccess())
	require.Equal(t, 1, r.logs.FilterMessageSnippet("rights to a secret file").Len())
}

// Answers cost memory by the bound, not by what a server sends.
func TestHostileAnswersCostBoundedMemory(t *testing.T) {
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	for range 64 {
		_, _ = zip.Write(make([]byte, 1<<20))
	}
	require.NoError(t, zip.Close())
	for desc, answer := range map[string]func(w http.ResponseWriter){
		"64 MiB in 64 KiB of gzip": func(w http.ResponseWriter) {
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write(bomb.Bytes())
		},
		"64 MiB of text": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusInternalServerError)
			for range 64 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		},
		"4 MiB of header": func(w http.ResponseWriter) {
			for i := range 64 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 64<<10))
			}
			w.WriteHeader(http.StatusInternalServerError)
		},
		"a number of 60,000 digits": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write([]byte(`{"accepted":` + strings.Repeat("9", 60_000) + `}`))
		},
	} {
		t.Run(desc, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w) }))
			defer srv.Close()
			r := newRig(t, srv.URL)
			_ = r.push(stops(1)) // what is set up once
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := r.push(stops(1))
			runtime.ReadMemStats(&after)
			require.Error(t, err)
			assert.Equal(t, stopIDs(1), retried(t, err))
			if desc == "4 MiB of header" {
				require.ErrorContains(t, err, "exceeded 65536 bytes")
			}
			if desc != "4 MiB of header" && desc != "64 MiB of text" { // there the server of the test allocates as well
				assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20))
			}
		})
	}
}
