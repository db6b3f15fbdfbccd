// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/observer"
	"github.com/zastava-otel/zastava/internal/retry"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/runtime/docker"
	"github.com/zastava-otel/zastava/internal/test/bench/cost"
	"github.com/zastava-otel/zastava/internal/test/socketdir"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// A benchmark's engine runs in a process of its own, so that only the client is measured. The process is this test binary with this
// variable in its environment. It ends when its standard input is closed.
const dockerServe = "ZASTAVA_TEST_DOCKER_SERVE"

// dockerServed serves the answers of a Docker Engine with running containers, if this process was started to do that.
func dockerServed() bool {
	var path string
	var n int
	if _, err := fmt.Sscan(os.Getenv(dockerServe), &n, &path); err != nil {
		return false
	}
	began := time.Now().Add(-3 * 24 * time.Hour)
	items := make([]string, n)
	for i := range items {
		items[i] = dockerItem(i, began)
	}
	list := []byte("[" + strings.Join(items, ",") + "]")
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", path)
	if err != nil {
		fmt.Fprintln(os.Stderr, "serve Docker:", err)
		os.Exit(1)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		w.Header().Set("Content-Type", "application/json")
		switch path := r.URL.Path; {
		case strings.HasSuffix(path, "/_ping"):
		case strings.HasSuffix(path, "/version"):
			_, _ = io.WriteString(w, `{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12","Os":"linux","Arch":"amd64"}`)
		case strings.HasSuffix(path, "/containers/json"):
			_, _ = w.Write(list)
		case strings.HasSuffix(path, "/json") && strings.Contains(path, "/containers/"):
			_, _ = fmt.Fprintf(w, `{"Id":%q,"Created":%q,"State":{"Status":"running","Running":true,"Pid":1234,"StartedAt":%q},"Name":"/shop-web-1","Config":{"Image":"registry.example.test/shop/web:1.8"}}`,
				filepath.Base(filepath.Dir(path)), began.Format(time.RFC3339Nano), began.Format(time.RFC3339Nano))
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"message":"no such thing"}`)
		}
	})}
	go func() { _ = server.Serve(l) }()
	fmt.Println("serving")
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = server.Close()
	return true
}

// dockerItem is one container as dockerd 20.10 lists it: with a port, a mount, a network and the labels of Compose.
func dockerItem(i int, began time.Time) string {
	hash := func(seed int) string { return fmt.Sprintf("%064x", uint64(seed)*0x9e3779b97f4a7c15+1) }
	return fmt.Sprintf(`{"Id":%q,"Names":["/shop-web-%d"],"Image":"registry.example.test/shop/web:1.8","ImageID":"sha256:%s","Command":"/web --listen :8080",
		"Created":%d,"Ports":[{"IP":"0.0.0.0","PrivatePort":8080,"PublicPort":%d,"Type":"tcp"},{"IP":"::","PrivatePort":8080,"PublicPort":%d,"Type":"tcp"}],
		"Labels":{"com.docker.compose.config-hash":%q,"com.docker.compose.container-number":"%d","com.docker.compose.depends_on":"","com.docker.compose.image":"sha256:%s",
		"com.docker.compose.oneoff":"False","com.docker.compose.project":"shop","com.docker.compose.project.config_files":"/srv/shop/compose.yaml",
		"com.docker.compose.project.working_dir":"/srv/shop","com.docker.compose.service":"web","com.docker.compose.version":"2.29.7","org.opencontainers.image.source":"https://example.test/shop/web"},
		"State":"running","Status":"Up 3 days (healthy)","HostConfig":{"NetworkMode":"shop_default"},
		"NetworkSettings":{"Networks":{"shop_default":{"IPAMConfig":null,"Links":null,"Aliases":null,"NetworkID":%q,"EndpointID":%q,"Gateway":"172.18.0.1","IPAddress":"172.18.%d.%d",
		"IPPrefixLen":16,"IPv6Gateway":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"MacAddress":"02:42:ac:12:00:02","DriverOpts":null}}},
		"Mounts":[{"Type":"volume","Name":"shop_data","Source":"/var/lib/docker/volumes/shop_data/_data","Destination":"/data","Driver":"local","Mode":"z","RW":true,"Propagation":""}]}`,
		hash(i), i+1, hash(7), began.Unix(), 20000+i, 20000+i, hash(9), i+1, hash(7), hash(11), hash(i+100000), i/256, i%256)
}

// startDocker starts that process and returns its endpoint.
func startDocker(b *testing.B, n int) string {
	b.Helper()
	path := filepath.Join(socketdir.New(b), "d.sock")
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s", dockerServe, n, path))
	in, err := command.StdinPipe()
	require.NoError(b, err)
	out, err := command.StdoutPipe()
	require.NoError(b, err)
	command.Stderr = os.Stderr
	require.NoError(b, command.Start())
	b.Cleanup(func() {
		_ = in.Close()
		_ = command.Wait()
	})
	_, err = out.Read(make([]byte, 1))
	require.NoError(b, err)
	return "unix://" + path
}

// lists counts an observer's lists.
type lists struct{ n, failed atomic.Int64 }

func (l *lists) Listed(_ time.Duration, err error) {
	if err != nil {
		l.failed.Add(1)
	}
	l.n.Add(1)
}
func (*lists) InspectFailed()                                 {}
func (*lists) Transitions(container.Kind, int)                {}
func (*lists) Reconnected()                                   {}
func (*lists) MailboxOverflowed()                             {}
func (*lists) Coalesced(int)                                  {}
func (*lists) Gap(string)                                     {}
func (*lists) CheckpointFailed()                              {}
func (*lists) Info(string, ...any)                            {}
func (*lists) Warn(string, ...any)                            {}
func (*lists) Deliver(context.Context, []observer.Item) error { return nil }

// onlyListed is Docker without its event stream, so that the observer only lists.
type onlyListed struct {
	runtime.Runtime
	runtime.Finder
	runtime.PIDReader
}

// BenchmarkDockerIdle measures an observer that polls 500 containers of which none changes, against a bare GET of
// /containers/json at the same pace, in turns within the same run: processor time of this process, and allocations. bare is moby's client,
// which decodes the list into its types; raw is a plain HTTP client that only splits the same bytes into items. The engine is a
// process of its own.
func BenchmarkDockerIdle(b *testing.B) {
	const containers, pace, several = 500, 20 * time.Millisecond, 50
	endpoint := startDocker(b, containers)
	bare, err := client.New(client.WithHost(endpoint))
	require.NoError(b, err)
	b.Cleanup(func() { _ = bare.Close() })
	plain := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", strings.TrimPrefix(endpoint, "unix://"))
	}}}
	b.Cleanup(plain.CloseIdleConnections)
	paced := func(list func()) func() {
		return func() {
			for range several {
				list()
				time.Sleep(pace)
			}
		}
	}
	listBare := paced(func() {
		answer, err := bare.ContainerList(b.Context(), client.ContainerListOptions{All: true})
		require.NoError(b, err)
		require.Len(b, answer.Items, containers)
	})
	listRaw := paced(func() {
		answer, err := plain.Get("http://docker/v1.41/containers/json?all=1")
		require.NoError(b, err)
		var items []json.RawMessage
		require.NoError(b, json.NewDecoder(answer.Body).Decode(&items))
		require.NoError(b, answer.Body.Close())
		require.Len(b, items, containers)
	})
	var oursTotal, bareTotal, rawTotal cost.Cost
	var listed int64
	for range b.N {
		count := &lists{}
		o := observer.New(observer.Options{
			Name: "bench", PollInterval: pace, ResyncInterval: time.Minute, Timeout: time.Minute,
			Backoff: retry.Options{Initial: time.Second, Max: time.Minute, Multiplier: 2, Jitter: 0.5},
			Tracker: tracker.Options{CrashLoopThreshold: 3, CrashLoopWindow: 10 * time.Minute},
		}, func(ctx context.Context) (runtime.Runtime, runtime.Info, error) {
			rt, err := docker.New(docker.Options{Name: "bench", Endpoint: endpoint})
			if err != nil {
				return nil, runtime.Info{}, err
			}
			info, err := rt.Info(ctx)
			return onlyListed{rt, rt, rt}, info, err
		}, count, nil, observer.Host{}, count, count, func(error) {})
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan struct{})
		go func() {
			o.Run(ctx)
			close(done)
		}()
		require.Eventually(b, func() bool { return o.Stats().Tracked == containers && count.n.Load() > 5 }, time.Minute, pace)
		goruntime.GC()
		before := count.n.Load()
		oursTotal.Add(cost.Of(func() {
			for count.n.Load() < before+several {
				time.Sleep(pace)
			}
		}))
		listed += count.n.Load() - before
		cancel()
		<-done
		require.Zero(b, count.failed.Load())
		goruntime.GC()
		bareTotal.Add(cost.Of(listBare))
		goruntime.GC()
		rawTotal.Add(cost.Of(listRaw))
	}
	ours, others := float64(listed), float64(several*b.N)
	per := func(c cost.Cost, n float64) float64 { return math.Round(float64(c.CPU.Microseconds()) / n) }
	b.ReportMetric(per(oursTotal, ours), "cpu-µs/list")
	b.ReportMetric(per(bareTotal, others), "bare-cpu-µs/list")
	b.ReportMetric(per(rawTotal, others), "raw-cpu-µs/list")
	b.ReportMetric((float64(oursTotal.CPU)/ours)/(float64(bareTotal.CPU)/others), "cpu-ratio")
	b.ReportMetric(math.Round(float64(oursTotal.Allocs)/ours), "allocs/list")
	b.ReportMetric((float64(oursTotal.Allocs)/ours)/(float64(bareTotal.Allocs)/others), "allocs-ratio")
}
