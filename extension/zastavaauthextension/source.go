// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavaauthextension

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/oauth2"
)

const (
	// failureTTL is how long a failure is returned to later requests without a new attempt: otherwise each of many consumers
	// would send a request to a server that has just failed.
	failureTTL = time.Second
	// minAge is the age from which a token is replaced when the resource rejects it. Without it, a resource that rejects every
	// token would cause a new token for each request.
	minAge = 30 * time.Second
)

// source stores one token and renews it. It has no goroutine: the first request that finds the token due for renewal renews it, while
// the others continue with the old one.
type source struct {
	fetch         func(context.Context) (*oauth2.Token, error)
	buffer, ahead time.Duration
	logger        *zap.Logger
	fetching      chan struct{} // semaphore: one request fetches at a time

	mu       sync.Mutex
	token    *oauth2.Token // nil if none
	fetched  time.Time     // time of the fetch of token
	renew    time.Time     // time of the next fetch; zero = never
	failed   time.Time     // time of the last failed fetch; zero if none failed since the token was fetched
	failure  error
	reported bool // the failure was logged
}

func newSource(fetch func(context.Context) (*oauth2.Token, error), buffer, ahead time.Duration, logger *zap.Logger) *source {
	return &source{fetch: fetch, buffer: buffer, ahead: ahead, logger: logger, fetching: make(chan struct{}, 1)}
}

// get returns a token that is valid for a request now.
func (s *source) get(ctx context.Context) (*oauth2.Token, error) {
	token, due, err := s.current()
	switch {
	case err != nil || (token != nil && !due):
		return token, err
	case token != nil: // due but still valid: do not wait for another request that fetches
		select {
		case s.fetching <- struct{}{}:
		default:
			return token, nil
		}
	default:
		select {
		case s.fetching <- struct{}{}:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	defer func() { <-s.fetching }()
	if token, due, err = s.current(); err != nil || (token != nil && !due) {
		return token, err // another request has just fetched
	}
	fresh, err := s.fetch(ctx)
	if err != nil {
		if ctx.Err() == nil { // a canceled request is not a failure of the server
			s.storeFailure(err)
		}
		if token != nil {
			return token, nil // still valid
		}
		return nil, err
	}
	s.store(fresh)
	return fresh, nil
}

// current returns the token if it is valid, whether it is due for renewal, and the recent failure if there is no valid token.
func (s *source) current() (token *oauth2.Token, due bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	justFailed := !s.failed.IsZero() && now.Sub(s.failed) < failureTTL
	if s.token != nil && (s.token.Expiry.IsZero() || now.Before(s.token.Expiry.Add(-s.expiryBuffer()))) {
		return s.token, !s.renew.IsZero() && !now.Before(s.renew) && !justFailed, nil
	}
	if justFailed {
		return nil, true, s.failure
	}
	return nil, true, nil
}

// expiryBuffer returns the configured buffer, but at most half of the token's lifetime.
func (s *source) expiryBuffer() time.Duration { return min(s.buffer, s.token.Expiry.Sub(s.fetched)/2) }

func (s *source) store(token *oauth2.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reported {
		s.logger.Info("Getting a token succeeded again")
	}
	s.token, s.fetched, s.renew = token, time.Now(), time.Time{}
	s.failed, s.failure, s.reported = time.Time{}, nil, false
	if !token.Expiry.IsZero() {
		ahead := min(s.ahead, token.Expiry.Sub(s.fetched)/2-s.expiryBuffer()/2)
		if ahead > 0 {
			ahead -= rand.N(ahead/2 + 1) //nolint:gosec // spreads load; not a secret
		}
		s.renew = token.Expiry.Add(-s.expiryBuffer() - max(ahead, 0))
	}
}

func (s *source) storeFailure(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed, s.failure = time.Now(), err
	if !s.reported {
		s.reported = true
		s.logger.Error("Getting a token failed; requests fail and retry it", zap.Error(err))
	}
}

// reject drops a token that a resource rejected, if it is older than minAge.
func (s *source) reject(token *oauth2.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == token && time.Since(s.fetched) >= minAge {
		s.token = nil
	}
}
