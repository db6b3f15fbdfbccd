//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/test/certs"
	"github.com/zastava-otel/zastava/internal/test/proxy"
)

// overTLS makes the backend serve HTTPS with a certificate of an authority that the collector trusts.
func overTLS(ca *certs.CA) option {
	return func(r *rig, config string) string {
		r.Helper()
		trusted := filepath.Join(r.dir, "ca.pem")
		ca.WriteTo(trusted)
		r.serveTLS(ca, certs.None)
		config = strings.Replace(config, "endpoint: http://"+r.proxy.Address(), "endpoint: https://"+r.proxy.Address()+"\n    tls: {ca_file: "+trusted+"}", 1)
		return strings.Replace(config, "  telemetry:\n", "  telemetry:\n    logs: {sampling: {enabled: false}}\n", 1) // log every refusal
	}
}

// serveTLS restarts the backend with another certificate.
func (r *rig) serveTLS(ca *certs.CA, fault certs.Fault, flags ...string) {
	r.Helper()
	r.backend.Stop()
	cert, key := ca.Issue(r.dir, "backend", fault)
	r.backend.Restart(append([]string{"--tls-cert", cert, "--tls-key", key}, flags...)...)
}

// logged returns what the collector has logged since the last call.
func (r *rig) logged() func() string {
	r.Helper()
	log := filepath.Join(r.dir, "collector.log")
	was, err := os.ReadFile(log)
	require.NoError(r, err)
	return func() string {
		now, err := os.ReadFile(log)
		require.NoError(r, err)
		return string(now[len(was):])
	}
}

// TestEventsArriveOnceTrustIsBack removes, in every way, the collector's reason to trust the backend, and restores it. Events from
// meanwhile are delivered once, by the same process; none was sent to a server with a wrong certificate.
func TestEventsArriveOnceTrustIsBack(t *testing.T) {
	ca, stranger := certs.New(t), certs.New(t)
	r := newRig(t, overTLS(ca))
	r.start()
	r.feed(either(20, 500), 5, nil)
	r.drained()
	clients := filepath.Join(r.dir, "clients.pem")
	ca.WriteTo(clients)
	pid := r.collector.PID()
	failed := "POST https://" + r.proxy.Address() // the beginning of every error of a delivery
	good := func() { r.serveTLS(ca, certs.None) }
	through := func(m proxy.Mode) func() { return func() { r.proxy.Set(m) } }
	for _, tt := range []struct {
		desc       string
		away, back func()
		says       string // what the collector logs; empty where it depends on the place of the cut
		mend       bool   // a person must act, so the status reports an error
		untrusted  bool   // the server that answers is not trusted
	}{
		{"the certificate has expired", func() { r.serveTLS(ca, certs.Expired) }, good, "certificate has expired", true, true},
		{"a certificate of another authority", func() { r.serveTLS(stranger, certs.None) }, good, "certificate signed by unknown authority", true, true},
		{"a certificate of another host", func() { r.serveTLS(ca, certs.OtherName) }, good, "cannot validate certificate for 127.0.0.1", true, true},
		{"a client certificate is required", func() { r.serveTLS(ca, certs.None, "--client-ca", clients) }, good, "tls: certificate required", true, false},
		{"no TLS any more", func() { r.backend.Stop(); r.backend.Restart() }, good, "server gave HTTP response to HTTPS client", true, true},
		{"the handshake is cut in the server's part", through(proxy.CutAnswer), through(proxy.Pass), "", false, false},
		{"the handshake is cut in the client's part", through(proxy.CutAsk), through(proxy.Pass), "", false, false},
		{"the handshake has no answer", through(proxy.Hang), through(proxy.Pass), "", false, false},
		{"the handshake is half closed", through(proxy.HalfClose), through(proxy.Pass), "", false, false},
		{"the handshake is answered with garbage", through(proxy.Garbage), through(proxy.Pass), "tls: ", false, false},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			before := r.stored()
			logged := r.logged()
			tt.away()
			r.feed(either(30, 1000), 7, nil)
			r.await("the fault to be logged", func() bool { return strings.Contains(logged(), failed) && strings.Contains(logged(), tt.says) })
			if tt.untrusted {
				assert.Equal(t, before, r.stored(), "delivered to an untrusted server")
			}
			if tt.mend {
				r.await("the status to report the fault", func() bool { return r.healthStatus() == http.StatusInternalServerError })
			}
			if tt.says != "" { // no event can have arrived
				assert.Positive(t, r.metrics.Sum("otelcol_exporter_zastavabackend_oldest_undelivered"))
			}
			tt.back()
			r.drained()
			r.check(0)
			r.await("the status to be good again", func() bool { return r.healthStatus() == http.StatusOK })
		})
	}
	assert.Equal(t, pid, r.collector.PID())
	assert.Equal(t, http.StatusOK, r.healthStatus())
}
