// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavaauthextension

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"golang.org/x/oauth2"
)

// server issues tokens under the fake clock of a synctest bubble.
type server struct {
	mu       sync.Mutex
	life     time.Duration // 0 = without expiry
	delay    time.Duration
	err      error
	requests []time.Time
}

func (s *server) fetch(ctx context.Context) (*oauth2.Token, error) {
	s.mu.Lock()
	s.requests = append(s.requests, time.Now())
	n, life, delay, err := len(s.requests), s.life, s.delay, s.err
	s.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	token := &oauth2.Token{AccessToken: strconv.Itoa(n)}
	if life > 0 {
		token.Expiry = time.Now().Add(life)
	}
	return token, nil
}

func TestTokenIsRenewedBeforeItExpires(t *testing.T) {
	for range 20 { // each with new jitter
		synctest.Test(t, func(t *testing.T) {
			s := &server{life: time.Hour}
			src := newSource(s.fetch, 10*time.Second, time.Minute, zap.NewNop())
			for began := time.Now(); time.Since(began) < 3*time.Hour; time.Sleep(time.Second) {
				token, err := src.get(t.Context())
				require.NoError(t, err)
				require.Greater(t, time.Until(token.Expiry), 10*time.Second)
			}
			require.Len(t, s.requests, 4)
			for i := range s.requests[1:] {
				age := s.requests[i+1].Sub(s.requests[i])
				assert.GreaterOrEqual(t, age, time.Hour-70*time.Second)
				assert.LessOrEqual(t, age, time.Hour-39*time.Second)
			}
		})
	}
}

func TestRenewalsAreSpreadByJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		moments := map[time.Time]bool{}
		for range 50 {
			src := newSource((&server{life: time.Hour}).fetch, 10*time.Second, time.Minute, zap.NewNop())
			_, err := src.get(t.Context())
			require.NoError(t, err)
			moments[src.renew] = true
		}
		assert.Greater(t, len(moments), 10)
	})
}

func TestTokenIsUsedForHalfItsLifetimeWhenItIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{life: 4 * time.Second}
		src := newSource(s.fetch, 10*time.Second, time.Minute, zap.NewNop())
		for range 100 {
			token, err := src.get(t.Context())
			require.NoError(t, err)
			require.Positive(t, time.Until(token.Expiry))
			time.Sleep(100 * time.Millisecond)
		}
		assert.LessOrEqual(t, len(s.requests), 11)
	})
}

func TestTokenIsKeptWhenItHasNoExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		src := newSource(s.fetch, 10*time.Second, time.Minute, zap.NewNop())
		for range 10 {
			_, err := src.get(t.Context())
			require.NoError(t, err)
			time.Sleep(24 * time.Hour)
		}
		assert.Len(t, s.requests, 1)
	})
}

func TestTokenIsUsedDuringAnOutageUntilItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{life: time.Hour}
		src := newSource(s.fetch, 10*time.Second, time.Minute, zap.NewNop())
		first, err := src.get(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Hour - 30*time.Second)
		s.err = errors.New("down")
		for range 15 {
			token, err := src.get(t.Context())
			require.NoError(t, err)
			assert.Same(t, first, token)
			time.Sleep(time.Second)
		}
		time.Sleep(6 * time.Second)
		_, err = src.get(t.Context())
		require.ErrorContains(t, err, "down")
		s.err = nil
		_, err = src.get(t.Context())
		require.ErrorContains(t, err, "down", "a failure is repeated for a second")
		time.Sleep(failureTTL)
		token, err := src.get(t.Context())
		require.NoError(t, err)
		assert.NotSame(t, first, token)
	})
}

func TestRenewalIsDoneByOneRequestAndDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{life: time.Hour, delay: 5 * time.Second}
		src := newSource(s.fetch, 10*time.Second, time.Minute, zap.NewNop())
		get := func(most time.Duration, n int) (waited int) {
			var wg sync.WaitGroup
			var mu sync.Mutex
			for range n {
				wg.Go(func() {
					began := time.Now()
					_, err := src.get(t.Context())
					assert.NoError(t, err) //nolint:testifylint // not the goroutine of the test
					assert.LessOrEqual(t, time.Since(began), most)
					mu.Lock()
					defer mu.Unlock()
					if time.Since(began) > 0 {
						waited++
					}
				})
			}
			wg.Wait()
			return waited
		}
		assert.Equal(t, 10, get(5*time.Second, 10), "all wait for the first token")
		assert.Len(t, s.requests, 1)
		time.Sleep(time.Hour - 30*time.Second)
		assert.Equal(t, 1, get(5*time.Second, 10), "only the request that renews waits")
		assert.Len(t, s.requests, 2)
	})
}

func TestRequestGetsATokenWhenAnotherIsCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{life: time.Hour, delay: 5 * time.Second}
		src := newSource(s.fetch, 10*time.Second, time.Minute, zap.NewNop())
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for range 2 { // one fetches, one waits for it
			wg.Go(func() {
				_, err := src.get(short)
				assert.ErrorIs(t, err, context.DeadlineExceeded)
			})
		}
		synctest.Wait()
		wg.Go(func() {
			_, err := src.get(t.Context())
			assert.NoError(t, err)
		})
		wg.Wait()
	})
}

func TestRejectedTokenIsReplacedAtMostEveryMinAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{life: time.Hour}
		src := newSource(s.fetch, 10*time.Second, time.Minute, zap.NewNop())
		for range 65 {
			token, err := src.get(t.Context())
			require.NoError(t, err)
			src.reject(token)
			time.Sleep(time.Second)
		}
		assert.Len(t, s.requests, 3)
	})
}
