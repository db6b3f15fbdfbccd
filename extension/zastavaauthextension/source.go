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
	// afterFailure is how long a failure to get a token answers for the requests that come next: many consumers must not
	// each ask a server that has just said no.
	afterFailure = time.Second
	// minAge is how old a token must be for the resource's refusal to count against it; else a resource that refuses
	// every token would have one fetched for each request.
	minAge = 30 * time.Second
)

// source keeps one token and renews it. It has no goroutine: the request that finds a token in need of it renews it, while
// the others go on with the old one.
type source struct {
	fetch         func(context.Context) (*oauth2.Token, error)
	buffer, ahead time.Duration
	logger        *zap.Logger
	fetching      chan struct{} // has room for who fetches

	mu       sync.Mutex
	token    *oauth2.Token // nil: none
	got      time.Time     // when token was fetched
	renew    time.Time     // when to fetch the next; zero = never
	failed   time.Time     // when fetching failed last; zero = it did not since the token was got
	failure  error
	reported bool // the failure was logged
}

func newSource(fetch func(context.Context) (*oauth2.Token, error), buffer, ahead time.Duration, logger *zap.Logger) *source {
	return &source{fetch: fetch, buffer: buffer, ahead: ahead, logger: logger, fetching: make(chan struct{}, 1)}
}

// get gives a token that is good for a request now.
func (s *source) get(ctx context.Context) (*oauth2.Token, error) {
	token, due, err := s.look()
	switch {
	case err != nil || (token != nil && !due):
		return token, err
	case token != nil: // due, and still good: nobody waits for another's fetching
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
	if token, due, err = s.look(); err != nil || (token != nil && !due) {
		return token, err // someone else has just been there
	}
	fresh, err := s.fetch(ctx)
	if err != nil {
		if ctx.Err() == nil { // else it says nothing about the server
			s.keepFailure(err)
		}
		if token != nil {
			return token, nil // good for a while yet
		}
		return nil, err
	}
	s.keep(fresh)
	return fresh, nil
}

// look gives the token if it is good, whether it is due for renewal, and the failure that holds instead of a token.
func (s *source) look() (token *oauth2.Token, due bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	justFailed := !s.failed.IsZero() && now.Sub(s.failed) < afterFailure
	if s.token != nil && (s.token.Expiry.IsZero() || now.Before(s.token.Expiry.Add(-s.bufferOf()))) {
		return s.token, !s.renew.IsZero() && !now.Before(s.renew) && !justFailed, nil
	}
	if justFailed {
		return nil, true, s.failure
	}
	return nil, true, nil
}

// bufferOf is the expiry buffer, less for a token that lives no longer than it: at most half its life.
func (s *source) bufferOf() time.Duration { return min(s.buffer, s.token.Expiry.Sub(s.got)/2) }

func (s *source) keep(token *oauth2.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reported {
		s.logger.Info("Tokens can be had again")
	}
	s.token, s.got, s.renew = token, time.Now(), time.Time{}
	s.failed, s.failure, s.reported = time.Time{}, nil, false
	if !token.Expiry.IsZero() {
		ahead := min(s.ahead, token.Expiry.Sub(s.got)/2-s.bufferOf()/2)
		if ahead > 0 {
			ahead -= rand.N(ahead/2 + 1) //nolint:gosec // spreads load, guards nothing
		}
		s.renew = token.Expiry.Add(-s.bufferOf() - max(ahead, 0))
	}
}

func (s *source) keepFailure(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed, s.failure = time.Now(), err
	if !s.reported {
		s.reported = true
		s.logger.Error("No token can be had; trying again with each request", zap.Error(err))
	}
}

// refused tells that a resource does not take token.
func (s *source) refused(token *oauth2.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == token && time.Since(s.got) >= minAge {
		s.token = nil
	}
}
