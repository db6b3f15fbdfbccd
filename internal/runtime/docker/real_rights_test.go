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

// The requests that docs/linux.md lists as required, and those that a proxy may refuse.
var (
	required = regexp.MustCompile(`^(/v1\.[0-9]+)?/(_ping|version|containers/json|containers/[0-9a-f]{64}/json)$`)
	optional = regexp.MustCompile(`^(/v1\.[0-9]+)?/(info|events|images/sha256:[0-9a-f]{64}/json)$`)
)

// guarded is an engine behind a proxy that allows only some requests, as users put in front of Docker's socket.
type guarded struct {
	host
	endpoint string
}

func (g guarded) Endpoint() string { return g.endpoint }

// guard returns an engine behind a proxy that forwards the allowed requests, and a function that returns the refused ones.
func guard(t *testing.T, engine host, allowed func(*http.Request) bool) (guarded, func() []string) {
	t.Helper()
	var mu sync.Mutex
	var refused []string
	socket, _ := strings.CutPrefix(engine.Endpoint(), "unix://")
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "engine"})
	dial := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	forward.Transport, forward.FlushInterval = dial, -1
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if (r.Method == http.MethodGet || r.Method == http.MethodHead) && allowed(r) {
			forward.ServeHTTP(w, r)
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

// TestRealLeastRightsSuffice observes through a proxy that allows only the requests that docs/linux.md lists.
func TestRealLeastRightsSuffice(t *testing.T) {
	for _, c := range []struct {
		name string
		all  bool
	}{{"required and optional", true}, {"required only", false}} {
		t.Run(c.name, func(t *testing.T) {
			parallel(t)
			var refused func() []string
			k := kinds()[0]
			k.refusesEvents = !c.all
			start := k.start
			k.start = func(t *testing.T, o engine.Options) host {
				t.Helper()
				var g guarded
				g, refused = guard(t, start(t, o), func(r *http.Request) bool {
					return required.MatchString(r.URL.Path) || (c.all && optional.MatchString(r.URL.Path))
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
				assert.Regexp(t, optional, path, "no other request was made")
			}
			if c.all {
				assert.Empty(t, refused())
				return
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			assert.LessOrEqual(t, strings.Count(strings.Join(refused(), "\n"), "/events"), 1, "a refused stream is not requested again at once")
			assert.Empty(t, l.gaps, "there was no coverage to lose")
		})
	}
}
