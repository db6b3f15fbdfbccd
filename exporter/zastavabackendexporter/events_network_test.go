// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer/consumererror"

	"github.com/zastava-otel/zastava/internal/test/proxy"
)

// The timeout ends a slow answer, whichever part of it is slow.
func TestSlowAnswersAreRetried(t *testing.T) {
	for _, tt := range []struct {
		desc  string
		reply reply
	}{
		{"no answer", func(w http.ResponseWriter, r *request) { <-r.done }},
		{"a slow body", func(w http.ResponseWriter, r *request) {
			w.WriteHeader(http.StatusAccepted)
			for {
				select {
				case <-r.done:
					return
				case <-time.After(5 * time.Millisecond):
					_, _ = w.Write([]byte(" "))
					_ = http.NewResponseController(w).Flush()
				}
			}
		}},
		{"a slow body of an error", func(w http.ResponseWriter, r *request) {
			w.WriteHeader(http.StatusInternalServerError)
			_ = http.NewResponseController(w).Flush()
			<-r.done
		}},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			s := newServer(t, tt.reply, accept)
			e := newRig(t, s.URL, func(cfg *Config) { cfg.ClientConfig.Timeout = 100 * time.Millisecond })
			err := e.push(stops(2))
			require.Error(t, err)
			assert.False(t, consumererror.IsPermanent(err))
			assert.Equal(t, stopIDs(2), retried(t, err))
			require.NoError(t, e.push(stops(2)))
			assert.Equal(t, map[string]int64{"accepted": 2}, e.outcomes(t))
		})
	}
}

func TestSwitchingProtocolsIsRetriedWithoutWaiting(t *testing.T) {
	switching := proxy.Switching(t)
	s := newServer(t, func(w http.ResponseWriter, _ *request) { switching(w, nil) })
	e := newRig(t, s.URL)
	err := e.push(stops(2))
	require.ErrorContains(t, err, "answered 101 Switching Protocols")
	assert.Equal(t, stopIDs(2), retried(t, err))
	assert.Equal(t, []componentstatus.Status{componentstatus.StatusRecoverableError}, e.host.Statuses())
}

// The batch is sent again with the same bytes.
func TestPushIsRetriedWhenTheConnectionBreaksWithinTheRequest(t *testing.T) {
	s := newServer(t, func(http.ResponseWriter, *request) { panic(http.ErrAbortHandler) }, accept)
	e := newRig(t, s.URL, func(cfg *Config) { cfg.ClientConfig.Compression = "none" })
	err := e.push(stops(200))
	require.Error(t, err)
	assert.Equal(t, stopIDs(200), retried(t, err))
	require.NoError(t, e.push(stops(200)))
	got := s.got()
	assert.True(t, bytes.Equal(got[0].body, got[len(got)-1].body))
}

// GOAWAY (RFC 9113 section 6.8): answered requests are complete, later ones use another connection.
func TestPushIsRetriedAfterGoAway(t *testing.T) {
	goAway := func(w http.ResponseWriter, r *request) {
		w.Header().Set("Connection", "close") // over HTTP/2 that is GOAWAY
		accept(w, r)
	}
	s := unstarted(t, append(slices.Repeat([]reply{goAway}, 2), func(http.ResponseWriter, *request) { panic(http.ErrAbortHandler) }, accept)...)
	s.EnableHTTP2 = true
	s.StartTLS()
	e := newRig(t, s.URL, func(cfg *Config) { cfg.ClientConfig.TLS.InsecureSkipVerify, cfg.MaxBatchEvents = true, 4 })
	err := e.push(stops(12))
	require.Error(t, err, "RST_STREAM")
	assert.Equal(t, stopIDs(12)[8:], retried(t, err))
	var rest consumererror.Logs
	require.ErrorAs(t, err, &rest)
	require.NoError(t, e.push(rest.Data()))
	assert.Equal(t, map[string]int64{"accepted": 12}, e.outcomes(t))
	for _, r := range s.got() {
		assert.Equal(t, "HTTP/2.0", r.proto)
	}
}

// A failed TLS handshake is retried like a missing connection, and the error names the cause.
func TestTLSErrorsAreRetried(t *testing.T) {
	for _, tt := range []struct {
		desc    string
		change  func(*Config)
		message string
	}{
		{"a certificate of an unknown authority", func(*Config) {}, "certificate"},
		{"a version that the server does not support", func(cfg *Config) {
			cfg.ClientConfig.TLS.InsecureSkipVerify, cfg.ClientConfig.TLS.MaxVersion, cfg.ClientConfig.TLS.MinVersion = true, "1.2", "1.2"
		}, "protocol version"},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			s := unstarted(t, accept)
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
			s.StartTLS()
			e := newRig(t, s.URL, tt.change)
			err := e.push(stops(2))
			require.ErrorContains(t, err, tt.message)
			assert.False(t, consumererror.IsPermanent(err))
			assert.Equal(t, stopIDs(2), retried(t, err))
		})
	}
}

func TestPushIsRetriedWithoutAConnection(t *testing.T) {
	s := newServer(t, accept)
	endpoint := strings.Replace(s.URL, "http://", "http://user:s3cret@", 1)
	s.Close()
	e := newRig(t, endpoint)
	err := e.push(stops(1))
	require.Error(t, err)
	assert.False(t, consumererror.IsPermanent(err))
	assert.Equal(t, stopIDs(1), retried(t, err))
	assert.NotContains(t, err.Error(), "s3cret")
	assert.NotContains(t, err.Error(), "user")
}

func TestPushIsRetriedWhenTheConnectionBreaksWithinTheAnswer(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, _ *request) {
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte(`{"accepted":`))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	e := newRig(t, s.URL)
	err := e.push(stops(1))
	require.ErrorContains(t, err, "read the answer 202 Accepted")
	assert.Equal(t, stopIDs(1), retried(t, err))
}

func TestEventsAreSentOverTLSAndHTTP2(t *testing.T) {
	s := unstarted(t, accept)
	s.EnableHTTP2 = true
	s.StartTLS()
	e := newRig(t, s.URL, func(cfg *Config) { cfg.ClientConfig.TLS.InsecureSkipVerify = true })
	require.NoError(t, e.push(stops(300)))
	assert.Equal(t, "HTTP/2.0", s.first(t).proto)
	assert.Equal(t, []int{256, 44}, s.sizes())
}

// A firewall that forgot a connection drops its packets without a word, while new connections work.
func TestDeliveryResumesWhenAConnectionIsSilent(t *testing.T) {
	s := unstarted(t, accept)
	s.EnableHTTP2 = true
	s.StartTLS()
	p := proxy.Start(t, proxy.Loopback, s.Listener.Addr().String())
	e := newRig(t, "https://"+p.Address(), func(cfg *Config) {
		cfg.ClientConfig.TLS.InsecureSkipVerify, cfg.ClientConfig.Timeout = true, time.Minute
		cfg.ClientConfig.HTTP2ReadIdleTimeout, cfg.ClientConfig.HTTP2PingTimeout = 200*time.Millisecond, 200*time.Millisecond
	})
	require.NoError(t, e.push(stops(1)))
	require.Equal(t, "HTTP/2.0", s.first(t).proto)
	p.Silence()
	began := time.Now()
	logs := stops(2)
	for e.push(logs) != nil { // the lane retries
		require.Less(t, time.Since(began), 30*time.Second)
	}
	assert.Less(t, time.Since(began), 30*time.Second, "long before the timeout")
	t.Logf("resumed after %s", time.Since(began))
}

func TestCancelledPushReturnsAllRecords(t *testing.T) {
	release := make(chan struct{})
	s := newServer(t, func(http.ResponseWriter, *request) { <-release })
	defer close(release)
	e := newRig(t, s.URL)
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- e.Push(ctx, stops(2)) }()
	require.Eventually(t, func() bool { return len(s.got()) == 1 }, 5*time.Second, time.Millisecond)
	cancel()
	err := <-result
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, stopIDs(2), retried(t, err))
}
