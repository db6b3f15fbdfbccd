// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/internal/test/statushost"
)

func TestUnreachableBackendIsReportedOnceAfterPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed, ok := componentstatus.StatusRecoverableError, componentstatus.StatusOK
		host := statushost.New()
		h := &health{logger: zap.NewNop()}
		h.start(host)
		fail := func() {
			h.reportErrorIfLasting(laneEvents, causeUnreachable, "check", errors.New("connection refused"))
		}
		fail()
		time.Sleep(patience / 2)
		fail()
		h.reportOK(laneEvents)
		time.Sleep(patience)
		fail()
		time.Sleep(patience)
		fail()
		assert.Empty(t, host.Statuses(), "it was there in between")
		for range 3 {
			time.Sleep(time.Millisecond)
			fail()
		}
		assert.Equal(t, []componentstatus.Status{failed}, host.Statuses(), "once")
		h.reportOK(laneEvents)
		assert.Equal(t, []componentstatus.Status{failed, ok}, host.Statuses())
	})
}

func TestFaultsOfTheSchemeAreRecognized(t *testing.T) {
	assert.Equal(t, remedyNoTLS, schemeRemedy(fmt.Errorf("POST: %w", http.ErrSchemeMismatch)))
	assert.Equal(t, remedyTLS, schemeRemedy(errors.New(`malformed HTTP response "\x15\x03\x01\x00\x02\x02F"`)))
	assert.Empty(t, schemeRemedy(errors.New(`malformed HTTP response "SSH-2.0"`)))
	assert.False(t, isTLSFault(http.ErrSchemeMismatch), "no certificate is at fault")
}

func TestTLSFaultsAreRecognized(t *testing.T) {
	for _, err := range []error{
		&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}},
		&net.OpError{Op: "remote error", Err: tls.AlertError(42)},
	} {
		assert.True(t, isTLSFault(fmt.Errorf("POST: %w", err)), "%v", err)
	}
	for _, err := range []error{
		nil,
		&net.OpError{Op: "dial", Err: errors.New("connection refused")},
		tls.RecordHeaderError{Msg: "garbage"},
	} {
		assert.False(t, isTLSFault(err), "%v", err)
	}
}
