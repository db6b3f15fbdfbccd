// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configcompression"
	"go.opentelemetry.io/collector/exporter"
	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/exporter/zastavabackendexporter/internal/delivery"
	"github.com/zastava-otel/zastava/exporter/zastavabackendexporter/internal/metadata"
	"github.com/zastava-otel/zastava/internal/credentials"
	"github.com/zastava-otel/zastava/internal/record"
)

// connection is what the deliveries of events and of facts share: the HTTP client, the headers, the metrics and the status.
type connection struct {
	config    *Config
	settings  component.TelemetrySettings
	logger    *zap.Logger
	telemetry *metadata.TelemetryBuilder
	decoder   record.Decoder
	header    http.Header
	health    *health
	now       func() time.Time
	mask      credentials.Masker // of what answers quote

	client *http.Client // nil before start
}

func newConnection(set exporter.Settings, cfg *Config) (*connection, error) {
	if cfg.Tenant == "" { // checked here as well, for callers that do not validate
		return nil, errNoTenant
	}
	telemetry, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("set up the exporter's own metrics: %w", err)
	}
	header := http.Header{}
	header.Set("User-Agent", fmt.Sprintf("%s/%s (%s/%s)", set.BuildInfo.Command, set.BuildInfo.Version, runtime.GOOS, runtime.GOARCH))
	header.Set(cfg.TenantHeader, cfg.Tenant)
	return &connection{
		config:    cfg,
		settings:  set.TelemetrySettings,
		logger:    set.Logger,
		telemetry: telemetry,
		decoder:   record.Decoder{Tenant: cfg.Tenant, Project: cfg.Project, Node: cfg.Node, Annotations: cfg.Annotations},
		header:    header,
		health:    &health{logger: set.Logger},
		now:       time.Now,
	}, nil
}

// defaultGzipLevel is used where the configuration names none. On batches of 256 events it takes half the time of gzip's own
// default, 6, for a tenth more bytes (BenchmarkExport), and a node's CPU is dearer than that. It is not in the default
// configuration because there it would be invalid for compressions that have no levels.
const defaultGzipLevel = 3

// start creates the HTTP client. It cannot be created earlier: the extensions that authenticate it must be running.
func (c *connection) start(ctx context.Context, host component.Host) error {
	clientConfig := c.config.ClientConfig
	if clientConfig.Compression == configcompression.TypeGzip && clientConfig.CompressionParams.Level == 0 {
		clientConfig.CompressionParams.Level = defaultGzipLevel
	}
	events, err := c.config.eventsURL()
	if err != nil {
		return err
	}
	facts, err := c.config.factsURL()
	if err != nil {
		return err
	}
	if c.config.ClientConfig.ProxyURL == "" {
		if err := errors.Join(c.config.plainFaults("the proxy of the environment", environmentProxy)...); err != nil {
			return err
		}
	}
	if err := c.checkAccess(); err != nil {
		return err
	}
	c.maskConfigured(events, facts)
	clientConfig, extensions := (&innermost{connection: c}).install(clientConfig, host.GetExtensions())
	client, err := clientConfig.ToClient(ctx, extensions, c.settings)
	if err != nil {
		return fmt.Errorf("create the HTTP client for %s: %w", credentials.Show(events), err)
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.client = client
	c.health.start(host)
	return nil
}

func (c *connection) shutdown() {
	if c.client != nil {
		c.client.CloseIdleConnections()
	}
	c.telemetry.Shutdown()
}

// post sends body to target; shownURL is target as errors may show it. Without a response, failed is the answer to use instead.
func (c *connection) post(ctx context.Context, target, shownURL string, header http.Header, body []byte) (resp *http.Response, failed answer) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, answer{verdict: refused, reason: "the request cannot be created", err: fmt.Errorf("create the request to %s: %w", shownURL, c.hide(withoutURL(err)))}
	}
	req.Header = header
	resp, err = c.client.Do(req)
	if err != nil {
		return nil, answer{verdict: later, err: fmt.Errorf("POST %s: %w", shownURL, c.hide(withoutURL(err)))}
	}
	return resp, answer{}
}

// withoutURL removes the URL from an HTTP client's error: it may contain credentials, and our error shows it already.
func withoutURL(err error) error {
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		return urlErr.Err
	}
	return err
}

// Causes of a failure that have no HTTP status.
const (
	causeUntrusted   = -1
	causeUnreachable = -2
	causeScheme      = -3
)

// schemeRemedy returns what to change where one end speaks TLS and the other does not; empty if err is another fault.
func schemeRemedy(err error) string {
	if errors.Is(err, http.ErrSchemeMismatch) {
		return remedyNoTLS
	}
	if strings.Contains(err.Error(), `malformed HTTP response "\x15\x03`) { // an alert of TLS
		return remedyTLS
	}
	return ""
}

// isTLSFault reports whether one end does not accept the other's certificate. No retry helps, a change of the configuration does.
func isTLSFault(err error) bool {
	if _, refused := errors.AsType[*tls.CertificateVerificationError](err); refused {
		return true
	}
	alert, ok := errors.AsType[*net.OpError](err)
	return ok && alert.Op == "remote error" // crypto/tls's operation for an alert that the server sent instead of an answer
}

// retryable returns the error that has the rest pushed again, and reports what the user has to change. pathOption is the option
// that says where the requests go.
func (c *connection) retryable(of laneName, a answer, pathOption string) error {
	switch remedy := schemeRemedy(a.err); {
	case remedy != "":
		c.health.reportError(of, causeScheme, remedy, a.err)
	case a.remedy != "":
		c.health.reportError(of, a.status, a.remedy, a.err)
	case a.verdict == denied:
		c.health.reportError(of, a.status, "check the exporter's auth, headers and tenant", a.err)
	case a.status == http.StatusUnsupportedMediaType:
		c.health.reportError(of, a.status, "check the exporter's compression", a.err)
	case a.verdict == misplaced:
		c.health.reportError(of, a.status, "check the exporter's endpoint and "+pathOption, a.err)
	case isTLSFault(a.err):
		c.health.reportError(of, causeUntrusted, "check the certificates of both ends and the exporter's tls", a.err)
	default:
		c.health.reportErrorIfLasting(of, cmp.Or(a.status, causeUnreachable), "check that the backend is up, and can be reached from here", a.err)
	}
	if a.retryAfter > 0 {
		return delivery.RetryAfter(a.err, a.retryAfter)
	}
	return a.err
}
