// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configmiddleware"
	"go.opentelemetry.io/collector/extension/extensionmiddleware"
	"golang.org/x/net/http/httpproxy"

	"github.com/zastava-otel/zastava/exporter/zastavabackendexporter/internal/metadata"
	"github.com/zastava-otel/zastava/internal/credentials"
)

// maxHeaderBytes bounds the header of an answer. net/http's own bound of 10 MiB is too much for ten consumers in a memory limit of
// 128 MiB. Servers themselves accept 8 to 64 KiB.
const maxHeaderBytes = 64 << 10

// innermost is the last middleware of the HTTP client: it sees each request as it is sent, with what the authenticator added.
type innermost struct {
	component.StartFunc
	component.ShutdownFunc

	connection *connection
}

var _ extensionmiddleware.HTTPClient = (*innermost)(nil)

// install returns the client's configuration and extensions with it as the innermost middleware.
func (w *innermost) install(config confighttp.ClientConfig, extensions map[component.ID]component.Component) (confighttp.ClientConfig, map[component.ID]component.Component) {
	id := component.NewIDWithName(metadata.Type, "innermost")
	config.Middlewares = append(slices.Clone(config.Middlewares), configmiddleware.Config{ID: id})
	all := maps.Clone(extensions)
	if all == nil {
		all = map[component.ID]component.Component{}
	}
	all[id] = w
	return config, all
}

// GetHTTPRoundTripper bounds what the transport reads of an answer. Compressed answers are not requested: they are short, and the
// transport would bound only what it unpacks.
func (w *innermost) GetHTTPRoundTripper(context.Context) (extensionmiddleware.WrapHTTPRoundTripperFunc, error) {
	return func(_ context.Context, base http.RoundTripper) (http.RoundTripper, error) {
		if transport, ok := base.(*http.Transport); ok {
			transport.MaxResponseHeaderBytes = maxHeaderBytes
			transport.DisableCompression = true
		}
		return roundTripperFunc(func(req *http.Request) (*http.Response, error) {
			w.connection.mask.AddRequest(req.Header, w.connection.config.TenantHeader)
			return base.RoundTrip(req)
		}), nil
	}, nil
}

type roundTripperFunc func(*http.Request) (*http.Response, error)

func (f roundTripperFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// environmentProxy returns the proxy that the environment names for target, nil if none.
func environmentProxy(target *url.URL) *url.URL {
	proxy, err := httpproxy.FromEnvironment().ProxyFunc()(target)
	if err != nil {
		return nil // the request reports it
	}
	return proxy
}

// maskConfigured has the configured credentials masked. Those of the authenticator are known when a request carries them.
func (c *connection) maskConfigured(targets ...*url.URL) {
	for _, value := range c.config.ClientConfig.Headers {
		c.mask.Add(string(value.Value))
	}
	if proxy, err := url.Parse(c.config.ClientConfig.ProxyURL); err == nil {
		c.mask.AddUser(proxy)
	}
	for _, target := range targets {
		c.mask.AddUser(target)
		c.mask.AddUser(environmentProxy(target))
	}
}

// hide returns err with the credentials masked in its text, and its length bounded. Errors of the HTTP client quote what a server or
// proxy sent: a malformed header, the reason of a refused CONNECT, the names in a certificate.
func (c *connection) hide(err error) error {
	text := err.Error()
	if hidden := c.mask.Text(text, maxQuotedBytes); hidden != text {
		return &hiddenError{hidden, err}
	}
	return err
}

// hiddenError is an error with another text.
type hiddenError struct {
	text  string
	cause error
}

func (e *hiddenError) Error() string { return e.text }
func (e *hiddenError) Unwrap() error { return e.cause }

// plainFaults returns which credentials would be sent in plain text. proxyOf returns the proxy for a target, nil if none; option is
// the name of what configures it.
func (cfg *Config) plainFaults(option string, proxyOf func(target *url.URL) *url.URL) (faults []error) {
	if cfg.InsecureCredentials {
		return nil
	}
	what := cfg.credential()
	seen := map[string]bool{}
	check := func(option string, u *url.URL, what string) {
		if err := credentials.Check(option, u, what); err != nil && !seen[err.Error()] {
			seen[err.Error()] = true
			faults = append(faults, err)
		}
	}
	for _, target := range cfg.targets() {
		carried := what
		if carried == "" && target.url.User != nil {
			carried = "its user and password"
		}
		if carried != "" {
			check(target.option, target.url, carried)
		}
		switch proxy := proxyOf(target.url); {
		case proxy == nil:
		case proxy.User != nil:
			check(option, proxy, "its user and password")
		case carried != "" && target.url.Scheme == "http": // the proxy gets the request itself, not only a tunnel
			check(option, proxy, carried)
		}
	}
	return faults
}

type target struct {
	option string
	url    *url.URL
}

// targets returns the valid URLs that requests are sent to.
func (cfg *Config) targets() (out []target) {
	add := func(option, endpoint string) {
		if u, err := url.Parse(endpoint); err == nil && validateEndpoint(endpoint) == nil {
			out = append(out, target{option, u})
		}
	}
	add("endpoint", cfg.ClientConfig.Endpoint)
	if cfg.CallgraphID != "" && cfg.FactsEndpoint != "" {
		add("facts_endpoint", cfg.FactsEndpoint)
	}
	return out
}

// credential names what requests carry; empty if nothing that is known to be secret is configured.
func (cfg *Config) credential() string {
	if cfg.ClientConfig.Auth.HasValue() {
		return "the credentials of auth"
	}
	for _, header := range cfg.ClientConfig.Headers {
		if credentials.IsSecretHeader(header.Name, string(header.Value)) {
			return "the header " + header.Name
		}
	}
	return ""
}

// configuredProxy returns proxy_url, nil if there is none or if it is not valid.
func (cfg *Config) configuredProxy(*url.URL) *url.URL {
	if u, err := url.Parse(cfg.ClientConfig.ProxyURL); err == nil && u.Host != "" {
		return u
	}
	return nil
}
