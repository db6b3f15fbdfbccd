// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package process

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// witness is a TB that records failures, so that a test can check them.
type witness struct {
	ctx      context.Context
	failed   bool
	skipped  bool
	said     string
	cleanups []func()
}

func (*witness) Helper()                          {}
func (w *witness) Context() context.Context       { return w.ctx }
func (w *witness) Failed() bool                   { return w.failed }
func (w *witness) Cleanup(f func())               { w.cleanups = append(w.cleanups, f) }
func (w *witness) Logf(format string, a ...any)   { w.said += fmt.Sprintf(format, a...) }
func (w *witness) Errorf(format string, a ...any) { w.failed = true; w.Logf(format, a...) }
func (w *witness) Skipf(format string, a ...any)  { w.skipped = true; w.Logf(format, a...); panic(w) }
func (w *witness) Fatalf(format string, a ...any) { w.Errorf(format, a...); panic(w) }

// runAsTest runs a function as a test of its own, with its cleanups.
func runAsTest(t *testing.T, test func(w *witness)) *witness {
	t.Helper()
	w := &witness{ctx: t.Context()}
	func() {
		defer func() {
			if p := recover(); p != nil && p != w {
				panic(p)
			}
		}()
		test(w)
	}()
	for i := range w.cleanups {
		w.cleanups[len(w.cleanups)-1-i]()
	}
	return w
}

func shell(t *testing.T, script string) Program {
	t.Helper()
	return Program{Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"WORD=of the test"}, Log: filepath.Join(t.TempDir(), "log")}
}

func TestProcessEndsWithItsTest(t *testing.T) {
	var p *Process
	program := shell(t, `echo "a word $WORD"; while true; do sleep 1; done`)
	w := runAsTest(t, func(w *witness) {
		p = Start(w, program)
		p.Await(time.Minute, "a word", func() bool { return strings.Contains(Tail(program.Log), "a word of the test") })
		if runtime.GOOS == "linux" {
			assert.Positive(t, p.Resident())
		}
	})
	assert.False(t, w.failed, w.said)
	assert.Empty(t, w.said)
	require.ErrorIs(t, p.cmd.Process.Signal(syscall.Signal(0)), os.ErrProcessDone)
	assert.Zero(t, p.Resident())
}

func TestStopReportsHowTheProcessEnded(t *testing.T) {
	for _, tt := range []struct {
		desc, script string
		end          func(p *Process)
		message      string // of the failure; empty if the test must not fail
	}{
		{"stopped, exit code 0", `trap 'exit 0' TERM; echo up; while true; do sleep 0.01; done`, (*Process).Stop, ""},
		{"stopped, exit code 3", `trap 'exit 3' TERM; echo up; while true; do sleep 0.01; done`, (*Process).Stop, "ended with an error: exit status 3"},
		{"killed", `trap '' TERM; echo up; while true; do sleep 0.01; done`, func(p *Process) { p.Kill(); p.Stop(); p.Kill() }, ""},
		{"it ends while the test waits", `echo up; exit 7`, func(p *Process) {
			p.Await(time.Minute, "a condition", func() bool { return false })
		}, "waited for a condition, and sh has ended: exit status 7; its output ends with:\nup"},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			program := shell(t, tt.script)
			w := runAsTest(t, func(w *witness) {
				p := Start(w, program)
				Await(w, time.Minute, "it to be up", func() bool { return Tail(program.Log) == "up\n" })
				tt.end(p)
			})
			assert.Equal(t, tt.message != "", w.failed, w.said)
			assert.Contains(t, w.said, tt.message)
			if w.failed {
				assert.Contains(t, w.said, "the end of "+program.Log+":\nup", "its output is shown")
			}
		})
	}
}

func TestAwaitFailsAfterItsLimit(t *testing.T) {
	w := runAsTest(t, func(w *witness) { Await(w, 30*time.Millisecond, "a thing", func() bool { return false }) })
	assert.True(t, w.failed)
	assert.Contains(t, w.said, "waited 30ms for a thing")
}

func TestBuiltSkipsWhenAProgramIsMissing(t *testing.T) {
	assert.FileExists(t, filepath.Join(Root(t), "go.mod"))
	absent := func(w *witness) { Built(w, "no-such-program") }
	t.Setenv("ZASTAVA_TEST_REQUIRE_RUNTIME", "")
	w := runAsTest(t, absent)
	assert.True(t, w.skipped)
	assert.Contains(t, w.said, "no-such-program is not built: run `make slim")
	t.Setenv("ZASTAVA_TEST_REQUIRE_RUNTIME", "1")
	w = runAsTest(t, absent)
	assert.True(t, w.failed)
	assert.False(t, w.skipped)
}

func TestFreeAddressNeverReturnsAnAddressTwice(t *testing.T) {
	seen := map[string]bool{}
	for range 300 {
		address := FreeAddress(t)
		assert.False(t, seen[address], address)
		seen[address] = true
		port, err := strconv.Atoi(Metrics(address).Port())
		require.NoError(t, err)
		assert.Less(t, port, 32768)
	}
}

func TestMetricsAddsUpMatchingPoints(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, "# HELP size\n# TYPE size gauge\nsize{a=\"1\",b=\"2\"} 3\nsize{a=\"1\",b=\"3\"} 1.5e1\nsize_of{a=\"1\"} 100\nbare 7\n")
	}))
	m := Metrics(strings.TrimPrefix(s.URL, "http://"))
	assert.InDelta(t, 18, m.Sum("size"), 0)
	assert.InDelta(t, 15, m.Sum("size", `a="1"`, `b="3"`), 0)
	assert.InDelta(t, 7, m.Sum("bare"), 0)
	assert.Zero(t, m.Sum("absent"))
	assert.Equal(t, string(m), m.Host()+":"+m.Port())
	assert.True(t, Listens(string(m)))
	s.Close()
	assert.Empty(t, m.Text())
	assert.False(t, Listens(FreeAddress(t)))
}

// TestFailureShowsOnlyTheOwnPartOfASharedLog has two processes write to one file. A failure shows only the output of its own process.
func TestFailureShowsOnlyTheOwnPartOfASharedLog(t *testing.T) {
	first, second := shell(t, "echo first"), shell(t, "echo second; exit 1")
	second.Log = first.Log
	w := runAsTest(t, func(w *witness) {
		<-Start(w, first).ended
		Start(w, second).Await(time.Minute, "a third", func() bool { return false })
	})
	assert.Contains(t, w.said, "exit status 1; its output ends with:\nsecond")
	assert.Equal(t, 1, strings.Count(w.said, "first\n"))
}

// TestBackendKeepsAddressAndDatabaseAfterRestart kills the reference backend and restarts it with the same address and database.
func TestBackendKeepsAddressAndDatabaseAfterRestart(t *testing.T) {
	b := StartBackend(t, t.TempDir())
	assert.Empty(t, b.Events())
	b.Kill()
	status, _ := b.Ask("/readyz")
	assert.Zero(t, status)
	b.Restart()
	status, _ = b.Ask("/readyz")
	require.Equal(t, http.StatusOK, status)
	b.Stop()
}
