// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package docker_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/engine"
)

// The requests that docs/docker.md names as all that is needed, and those of them that can be refused.
var (
	needed    = regexp.MustCompile(`^(/v1\.[0-9]+)?/(_ping|version|containers/json|containers/[0-9a-f]{64}/json)$`)
	dispensed = regexp.MustCompile(`^(/v1\.[0-9]+)?/(info|events|images/sha256:[0-9a-f]{64}/json)$`)
)

// guarded is an engine behind a proxy that lets some requests through, as those do that people put before Docker's socket.
type guarded struct {
	host
	endpoint string
}

func (g guarded) Endpoint() string { return g.endpoint }

// guard lets through what may pass to an engine, and refuses and remembers all else.
func guard(t *testing.T, engine host, may func(*http.Request) bool) (guarded, func() []string) {
	t.Helper()
	var mu sync.Mutex
	var refused []string
	socket, _ := strings.CutPrefix(engine.Endpoint(), "unix://")
	onwards := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "engine"})
	dial := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	onwards.Transport, onwards.FlushInterval = dial, -1
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if (r.Method == http.MethodGet || r.Method == http.MethodHead) && may(r) {
			onwards.ServeHTTP(w, r)
			return
		}
		mu.Lock()
		refused = append(refused, r.Method+" "+r.URL.Path)
		mu.Unlock()
		http.Error(w, "refused by the proxy", http.StatusForbidden)
	})}
	path := filepath.Join(filepath.Dir(socket), "guard.sock")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
		dial.CloseIdleConnections()
	})
	return guarded{engine, "unix://" + path}, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), refused...)
	}
}

// TestLeastRights observes through a proxy that only lets pass what docs/linux.md says is needed.
func TestLeastRights(t *testing.T) {
	for _, c := range []struct {
		name string
		all  bool
	}{{"what is needed and what helps", true}, {"what is needed", false}} {
		t.Run(c.name, func(t *testing.T) {
			sideBySide(t)
			var refused func() []string
			k := kinds()[0]
			k.refusesEvents = !c.all
			start := k.start
			k.start = func(t *testing.T, o engine.Options) host {
				t.Helper()
				var g guarded
				g, refused = guard(t, start(t, o), func(r *http.Request) bool {
					return needed.MatchString(r.URL.Path) || (c.all && dispensed.MatchString(r.URL.Path))
				})
				return g
			}
			l := watch(t, k, engine.Options{}, c.all)
			id := l.run("fails", nil, "exit", "3")
			end := l.ended(id)
			assert.EqualValues(t, 3, end.Run.ExitCode)
			assert.Equal(t, []string{"created", "started", "stopped"}, l.kinds(id))
			assert.Equal(t, privateruntime.ProbeImage, end.Container.Image.Reference)
			assert.NotEmpty(t, end.Container.Image.ID)
			for _, request := range refused() {
				method, path, _ := strings.Cut(request, " ")
				assert.Equal(t, http.MethodGet, method)
				assert.Regexp(t, dispensed, path, "nothing else is asked for")
			}
			if c.all {
				assert.Empty(t, refused())
				return
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			assert.LessOrEqual(t, strings.Count(strings.Join(refused(), "\n"), "/events"), 1, "a stream that is refused is not asked for again at once")
			assert.Empty(t, l.gaps, "nothing was lost that was there before")
		})
	}
}
