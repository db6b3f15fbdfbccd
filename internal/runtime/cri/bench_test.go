// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cri

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	goruntime "runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/test/crifake"
)

// A benchmark's server runs in its own process, so that only the client is measured. It is this test binary, started with
// these variables, and it ends when its standard input does.
const (
	serveSocket   = "ZASTAVA_TEST_CRI_SERVE"
	serveCount    = "ZASTAVA_TEST_CRI_COUNT"
	serveStreamed = "ZASTAVA_TEST_CRI_STREAMED"
)

func serve() bool {
	path := os.Getenv(serveSocket)
	if path == "" {
		return false
	}
	var n int
	if _, err := fmt.Sscan(os.Getenv(serveCount), &n); err != nil {
		panic(err)
	}
	s, err := crifake.Start(path, crifake.Options{StreamLists: os.Getenv(serveStreamed) != ""})
	if err != nil {
		panic(err)
	}
	s.Fill(n, 3)
	fmt.Println("serving")
	_, _ = io.Copy(io.Discard, os.Stdin)
	s.Stop()
	return true
}

// served starts the server process and returns a connected Runtime.
func served(b *testing.B, n int, streamed bool) *Runtime {
	b.Helper()
	path := socketPath(b)
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), serveSocket+"="+path, fmt.Sprintf("%s=%d", serveCount, n))
	if streamed {
		command.Env = append(command.Env, serveStreamed+"=1")
	}
	in, err := command.StdinPipe()
	require.NoError(b, err)
	out, err := command.StdoutPipe()
	require.NoError(b, err)
	command.Stderr = os.Stderr
	require.NoError(b, command.Start())
	b.Cleanup(func() { _ = in.Close(); _ = command.Wait() })
	_, err = out.Read(make([]byte, 1))
	require.NoError(b, err)
	r, err := New(Options{Endpoint: path, Timeout: time.Minute})
	require.NoError(b, err)
	b.Cleanup(func() { _ = r.Close() })
	return r
}

// cost is what a piece of code cost this process.
type cost struct {
	cpu    time.Duration
	allocs uint64
	bytes  uint64
}

func measure(do func()) cost {
	var before, after goruntime.MemStats
	goruntime.ReadMemStats(&before)
	c := cpu()
	do()
	c = cpu() - c
	goruntime.ReadMemStats(&after)
	return cost{c, after.Mallocs - before.Mallocs, after.TotalAlloc - before.TotalAlloc}
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (c *cost) add(o cost) { c.cpu += o.cpu; c.allocs += o.allocs; c.bytes += o.bytes }

// BenchmarkList measures List against the floor of the bare gRPC call and unmarshalling of the same response, alternately
// in the same run: processor time of this process, and allocations.
func BenchmarkList(b *testing.B) {
	for _, streamed := range []bool{false, true} {
		for _, n := range []int{100, 1000, 10000} {
			name := fmt.Sprintf("unary/%d", n)
			if streamed {
				name = fmt.Sprintf("streamed/%d", n)
			}
			b.Run(name, func(b *testing.B) {
				r := served(b, n, streamed)
				ctx := context.Background()
				list, err := r.List(ctx, nil)
				require.NoError(b, err)
				require.Len(b, list, n)
				floor := bareUnary
				if streamed {
					floor = bareStream
				}
				floor(b, r)
				goruntime.GC()
				var bare, ours cost
				// One measurement spans several calls, because the system counts processor time coarsely.
				calls := max(1, 2000/n)
				b.ResetTimer()
				for range b.N {
					bare.add(measure(func() {
						for range calls {
							floor(b, r)
						}
					}))
					ours.add(measure(func() {
						for range calls {
							if list, err = r.List(ctx, list[:0]); err != nil {
								b.Fatal(err)
							}
						}
					}))
				}
				per := float64(b.N * calls)
				b.ReportMetric(float64(ours.cpu.Nanoseconds())/per, "cpu-ns/list")
				b.ReportMetric(float64(bare.cpu.Nanoseconds())/per, "floor-cpu-ns/list")
				b.ReportMetric(float64(ours.cpu)/float64(bare.cpu), "cpu-ratio")
				b.ReportMetric(float64(ours.allocs)/per, "allocs/list")
				b.ReportMetric(float64(ours.allocs)/float64(bare.allocs), "allocs-ratio")
				b.ReportMetric(float64(ours.bytes)/float64(bare.bytes), "bytes-ratio")
			})
		}
	}
}

func bareUnary(b *testing.B, r *Runtime) {
	b.Helper()
	response, err := r.client.ListContainers(context.Background(), &runtimeapi.ListContainersRequest{})
	if err != nil || len(response.Containers) == 0 {
		b.Fatal("no response: ", err)
	}
}

func bareStream(b *testing.B, r *Runtime) {
	b.Helper()
	s, err := r.client.StreamContainers(context.Background(), &runtimeapi.StreamContainersRequest{})
	if err != nil {
		b.Fatal(err)
	}
	for {
		if _, err = s.Recv(); err == io.EOF { //nolint:errorlint // the floor does only what is necessary
			return
		} else if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDescribe measures the cost of one new container beyond its list item.
func BenchmarkDescribe(b *testing.B) {
	r := served(b, 1000, false)
	list, err := r.List(context.Background(), nil)
	require.NoError(b, err)
	b.ReportAllocs()
	for i := range b.N {
		if _, err := r.Describe(context.Background(), list[i%len(list)]); err != nil {
			b.Fatal(err)
		}
	}
}
