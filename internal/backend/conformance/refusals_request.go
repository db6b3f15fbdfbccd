// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"context"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

func tooLarge(ctx context.Context, s *session) (string, error) {
	s.sent.Add(1)
	body := batch(s.life().stop()).AppendCanonical(nil)
	body = append(body, bytes.Repeat([]byte(" "), s.o.MaxBytes)...)
	a, err := s.postRaw(ctx, zipped(body), map[string]string{"Content-Encoding": "gzip"})
	return want(a, err, http.StatusRequestEntityTooLarge, http.StatusAccepted)
}

func bomb(ctx context.Context, s *session) (string, error) {
	s.sent.Add(1)
	body := append(batch(s.life().stop()).AppendCanonical(nil), bytes.Repeat([]byte(" "), 64<<20)...)
	a, err := s.postRaw(ctx, zipped(body), map[string]string{"Content-Encoding": "gzip"})
	return want(a, err, http.StatusRequestEntityTooLarge, http.StatusBadRequest)
}

func unknownEncoding(ctx context.Context, s *session) (string, error) {
	a, err := s.postRaw(ctx, batch(s.life().stop()).AppendCanonical(nil), map[string]string{"Content-Encoding": "rot13"})
	return want(a, err, http.StatusUnsupportedMediaType, http.StatusBadRequest)
}

func unknownType(ctx context.Context, s *session) (string, error) {
	a, err := s.postRaw(ctx, batch(s.life().stop()).AppendCanonical(nil), map[string]string{"Content-Type": "text/plain"})
	return want(a, err, http.StatusUnsupportedMediaType)
}

func tenantMissing(ctx context.Context, s *session) (string, error) {
	a, err := s.postRaw(ctx, batch(s.life().stop()).AppendCanonical(nil), map[string]string{s.o.TenantHeader: ""})
	return want(a, err, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity)
}

func tenantDiffers(ctx context.Context, s *session) (string, error) {
	a, id, err := s.damaged(ctx, func(_, _, event map[string]any) { event["tenant"] = s.o.Tenant + "-other" })
	if err != nil {
		return "", err
	}
	if !refusedFor(a, id) && a.status != http.StatusForbidden {
		return "", fmt.Errorf("it %s", a)
	}
	return a.String(), nil
}

func keyDiffers(ctx context.Context, s *session) (string, error) {
	s.sent.Add(1)
	a, err := s.postRaw(ctx, batch(s.life().stop()).AppendCanonical(nil), map[string]string{backendapi.HeaderIdempotencyKey: uuid.NewString()})
	return want(a, err, http.StatusBadRequest, http.StatusUnprocessableEntity)
}

func noToken(ctx context.Context, s *session) (string, error) {
	return s.unauthorized(ctx, "")
}

func wrongToken(ctx context.Context, s *session) (string, error) {
	return s.unauthorized(ctx, "Bearer wrong-"+randomHex(16))
}

func (s *session) unauthorized(ctx context.Context, authorization string) (string, error) {
	if s.o.Token == "" {
		return "", skipError("no token was given")
	}
	a, err := s.postRaw(ctx, batch(s.life().stop()).AppendCanonical(nil), map[string]string{"Authorization": authorization})
	return want(a, err, http.StatusUnauthorized)
}

func wrongPath(ctx context.Context, s *session) (string, error) {
	a, err := s.do(ctx, http.MethodPost, s.o.EventsPath+"/no-such-path-"+s.run, batch(s.life().stop()).AppendCanonical(nil),
		map[string]string{"Content-Type": "application/json"})
	return want(a, err, http.StatusNotFound, http.StatusMethodNotAllowed)
}

func wrongMethod(ctx context.Context, s *session) (string, error) {
	a, err := s.do(ctx, http.MethodDelete, s.o.EventsPath, nil, nil)
	return want(a, err, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusNotFound)
}

func saysRetryAfter(_ context.Context, s *session) (string, error) {
	busy, without := s.busy.Load(), s.noWait.Load()
	switch {
	case busy == 0:
		return "", skipError("no answer so far was 429 or 503")
	case without > 0:
		return "", fmt.Errorf("%d of %d answers 429 or 503 had no Retry-After in seconds or as a date", without, busy)
	}
	return fmt.Sprintf("%d answers", busy), nil
}
