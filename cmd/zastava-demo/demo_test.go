// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/realruntime"
	"github.com/zastava-otel/zastava/internal/test/socketdir"
)

// standIn is an environment variable that makes this test binary act as the backend or the collector, because these tests are about the
// demo itself. Package e2e tests the whole path.
const standIn = "ZASTAVA_DEMO_TEST_STAND_IN"

func TestMain(m *testing.M) {
	if fault := os.Getenv(standIn); fault != "" {
		if os.Args[1] == "--listen" {
			actAsBackend(os.Args[2])
		} else {
			actAsCollector(fault)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// actAsBackend keeps the one event that the collector posts and streams it.
func actAsBackend(listen string) {
	event := make(chan []byte, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /event", func(_ http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		event <- body.Bytes()
	})
	mux.HandleFunc("GET "+backendapi.EventsPath+"/stream", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		select {
		case e := <-event:
			_, _ = fmt.Fprintf(w, "id: 1\ndata: %s\n\n", e)
		case <-r.Context().Done():
		}
	})
	server := &http.Server{Addr: listen, Handler: mux, ReadHeaderTimeout: time.Second}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		_ = server.Close()
	}()
	fmt.Println(server.ListenAndServe())
}

func actAsCollector(fault string) {
	fmt.Println("stand-in collector, fault:", fault)
	if fault == "dies at once" {
		os.Exit(7)
	}
	data, err := json.Marshal(backendapi.Event{
		Kind: backendapi.KindStart,
		When: time.Now(),
		// The variables that the demo sets for the configuration.
		Workload: &backendapi.Workload{Namespace: os.Getenv("ZASTAVA_TENANT"), Pod: "at", Container: os.Getenv("ZASTAVA_RUNTIME_ENDPOINT"), ImageRef: strings.Join(os.Args[1:], " ")},
	})
	if err != nil {
		panic(err)
	}
	if s, err := os.Stat(filepath.Dir(os.Getenv("ZASTAVA_STORAGE_DIR"))); err != nil || !s.IsDir() {
		panic("no place for the storage")
	}
	answer, err := http.Post(os.Getenv("ZASTAVA_ENDPOINT")+"/event", "application/json", bytes.NewReader(data))
	if err != nil {
		panic(err)
	}
	_ = answer.Body.Close()
	if fault == "ignores SIGTERM" {
		signal.Ignore(syscall.SIGTERM)
	}
	if fault == "dies later" {
		go func() {
			time.Sleep(300 * time.Millisecond)
			fmt.Println("the last words")
			os.Exit(7)
		}()
	}
	fmt.Println(http.ListenAndServe(os.Getenv("ZASTAVA_HEALTH_ENDPOINT"), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
}

// screen is an io.Writer that can be waited on.
type screen struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// standIns returns options with this test binary as both children. The demo creates its directories below a directory of the test.
func standIns(t *testing.T, fault string) options {
	t.Helper()
	t.Setenv(standIn, fault)
	t.Setenv("TMPDIR", socketdir.New(t))
	self, err := os.Executable()
	require.NoError(t, err)
	ports, err := freePorts(1)
	require.NoError(t, err)
	config := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(config, nil, 0o600))
	return options{collector: self, backend: self, config: config, port: ports[0], private: true}
}

// demoDirs returns the directories of demos that exist.
func demoDirs(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), homePattern+"*"))
	require.NoError(t, err)
	return found
}

// needContainerd skips a test in which the demo's own code starts a containerd; see realruntime.Containerd for the others.
func needContainerd(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: this test needs a real containerd")
	}
	if err := privateruntime.Check(t.Context(), privateruntime.Options{}); err != nil {
		t.Skip(err)
	}
}

func TestDemoLeavesNothingOfItsPrivateContainerd(t *testing.T) {
	needContainerd(t)
	o := standIns(t, "none")
	for _, name := range []string{"first run", "second run"} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var out screen
			done := make(chan error, 1)
			go func() { done <- run(ctx, o, &out) }()
			require.Eventually(t, func() bool { return strings.Contains(out.String(), "demo/at/unix://") }, time.Minute, 20*time.Millisecond)
			homes := demoDirs(t)
			require.Len(t, homes, 1)
			containerd := filepath.Join(homes[0], "c")
			require.Eventually(t, func() bool { // the workload is under way
				pods, err := filepath.Glob(containerd + "/logs/shop_*")
				return err == nil && len(pods) > 3
			}, time.Minute, 20*time.Millisecond)
			cancel()
			require.NoError(t, <-done)

			output := out.String()
			assert.Contains(t, output, "Started a private containerd")
			assert.Contains(t, output, fmt.Sprintf("Page: http://127.0.0.1:%d/ ", o.port))
			assert.Contains(t, output, "--config "+o.config)
			assert.Contains(t, output, "Everything that the demo created is removed.")
			assert.Empty(t, demoDirs(t))
			leftovers, err := privateruntime.Leftovers(containerd)
			require.NoError(t, err)
			assert.Empty(t, leftovers)
			require.NoError(t, checkPort(o.port))
		})
	}
}

func TestDemoObservesAnExistingRuntime(t *testing.T) {
	c := realruntime.Containerd(t)
	o := standIns(t, "none")
	o.private, o.endpoint, o.duration = false, c.Endpoint(), time.Second
	var out screen
	require.NoError(t, run(t.Context(), o, &out), "it ends by itself")
	assert.Contains(t, out.String(), "Observing containerd "+c.Version())
	assert.Contains(t, out.String(), "demo/at/"+c.Endpoint())
	assert.Empty(t, c.Driver().Records())
	pods, err := filepath.Glob(c.Dir() + "/logs/*")
	require.NoError(t, err)
	assert.Empty(t, pods, "the demo runs no workload on a runtime that it did not start")
	assert.Empty(t, demoDirs(t))
}

func TestDemoFailsWhenAChildEnds(t *testing.T) {
	for fault, messages := range map[string][]string{
		"dies at once":    {"the collector ended by itself (exit status 7)", "stand-in collector", "The logs are in "},
		"dies later":      {"the collector ended by itself (exit status 7)", "the last words"},
		"ignores SIGTERM": {"the collector did not stop within 10s and was killed"},
	} {
		t.Run(fault, func(t *testing.T) {
			c := realruntime.Containerd(t)
			o := standIns(t, fault)
			o.private, o.endpoint, o.duration = false, c.Endpoint(), 5*time.Second
			if fault == "ignores SIGTERM" {
				o.duration = time.Second
			}
			var out screen
			err := run(t.Context(), o, &out)
			for _, s := range messages {
				require.ErrorContains(t, err, s)
			}
			require.Len(t, demoDirs(t), 1, "the logs stay")
			assert.FileExists(t, filepath.Join(demoDirs(t)[0], "collector.log"))
			swept, err := sweep(t.Context(), os.Getenv("TMPDIR"))
			require.NoError(t, err)
			assert.Zero(t, swept, "no later run removes them")
			require.NoError(t, checkPort(o.port), "the backend is gone too")
		})
	}
}

func TestDemoNamesWhatIsMissing(t *testing.T) {
	t.Run("no program is built and the port is in use", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { _ = l.Close() }()
		port := l.Addr().(*net.TCPAddr).Port
		err = run(t.Context(), options{collector: "/no/collector", backend: "/no/backend", config: "/no/config", port: port}, &screen{})
		require.ErrorContains(t, err, "there is no collector at /no/collector: build it with `make slim`")
		require.ErrorContains(t, err, "there is no backend at /no/backend")
		require.ErrorContains(t, err, "there is no collector's configuration at /no/config")
		require.ErrorContains(t, err, fmt.Sprintf("port %d on 127.0.0.1 is taken: choose another one with `make run PORT=%d`", port, port+1))
	})
	t.Run("no runtime at the endpoint", func(t *testing.T) {
		o := standIns(t, "none")
		o.private, o.endpoint = false, "unix:///run/no/such.sock"
		err := run(t.Context(), o, &screen{})
		require.ErrorContains(t, err, "/run/no/such.sock")
		assert.NotContains(t, err.Error(), "The logs are in", "there are none")
		assert.Empty(t, demoDirs(t))
	})
}

func TestSweepWipesTheRestOfAKilledRun(t *testing.T) {
	needContainerd(t)
	under := socketdir.New(t)
	h, err := newHome(under)
	require.NoError(t, err)
	c, err := privateruntime.Start(t.Context(), privateruntime.Options{Dir: h.containerd()})
	require.NoError(t, err)
	pod, err := c.Driver().RunPod(t.Context(), privateruntime.PodSpec{Name: "left"})
	require.NoError(t, err)
	_, err = c.Driver().Run(t.Context(), pod, privateruntime.ContainerSpec{Name: "behind", Args: []string{"stubborn"}})
	require.NoError(t, err)

	swept, err := sweep(t.Context(), under)
	require.NoError(t, err)
	assert.Zero(t, swept, "the run holds its lock")
	assert.NotZero(t, c.PID())

	require.NoError(t, h.lock.Close()) // as the kernel does for a killed process
	target := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(target, "c"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(target, "lock"), nil, 0o600))
	require.NoError(t, os.Symlink(target, filepath.Join(under, homePattern+"link")))
	swept, err = sweep(t.Context(), under)
	require.NoError(t, err)
	assert.Equal(t, 1, swept)
	assert.NoDirExists(t, h.dir)
	assert.DirExists(t, filepath.Join(target, "c"), "a link is not followed")
	left, err := privateruntime.Leftovers(h.containerd())
	require.NoError(t, err)
	assert.Empty(t, left)
	require.NoError(t, c.Wipe(t.Context())) // ends its connection and its goroutine
}
