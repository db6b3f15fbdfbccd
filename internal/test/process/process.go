// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	shown = 4000                  // bytes of a log, when a test failed
	pause = 20 * time.Millisecond // between two looks
	stops = 2 * time.Minute       // how long an end in order may take, on a small busy machine
)

// Process is a running program.
type Process struct {
	tb    TB
	cmd   *exec.Cmd
	log   string
	from  int64         // where its output begins in the log, which others may write to before and after
	ended chan struct{} // closed by what waits for the process
	fault error         // how it ended; to be read when ended is closed, as is to
	to    int64         // where its output ends
}

// Start starts a program, which ends with the test at the latest.
func Start(tb TB, program Program) *Process {
	tb.Helper()
	out, err := os.OpenFile(program.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		tb.Fatalf("start %s: %v", program.Path, err)
	}
	cmd := exec.Command(program.Path, program.Args...) //nolint:gosec,noctx // the caller says which program, and Kill ends it
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), program.Env...)
	from := size(program.Log)
	err = cmd.Start()
	_ = out.Close() // the process has its own
	if err != nil {
		tb.Fatalf("start %s: %v", program.Path, err)
	}
	p := &Process{tb: tb, cmd: cmd, log: program.Log, from: from, ended: make(chan struct{})}
	go func() {
		p.fault = cmd.Wait()
		p.to = size(program.Log)
		close(p.ended)
	}()
	tb.Cleanup(func() {
		p.Kill()
		if tb.Failed() {
			tb.Logf("the end of %s:\n%s", program.Log, p.said())
		}
	})
	return p
}

// Stop ends the process as an operator would and waits for it. An end other than a good one fails the test; that it has
// ended before does not.
func (p *Process) Stop() {
	p.tb.Helper()
	select {
	case <-p.ended:
		return
	default:
	}
	p.Signal(syscall.SIGTERM)
	limit := time.NewTimer(stops)
	defer limit.Stop()
	select {
	case <-p.ended:
	case <-limit.C:
		p.tb.Fatalf("%s did not end within %v of SIGTERM", p.name(), stops)
		return
	}
	if p.fault != nil {
		p.tb.Fatalf("%s did not end well: %v", p.name(), p.fault)
	}
}

// Kill ends the process with SIGKILL and waits for it.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // an error says that it has ended
	<-p.ended
}

// Signal sends a signal. One that has ended takes none, which is no fault of the test's.
func (p *Process) Signal(by os.Signal) {
	p.tb.Helper()
	if err := p.cmd.Process.Signal(by); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.tb.Errorf("send %s %v: %v", p.name(), by, err)
	}
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Await waits until ok is true. That the process ends meanwhile fails the test at once.
func (p *Process) Await(limit time.Duration, what string, ok func() bool) {
	p.tb.Helper()
	Await(p.tb, limit, what, func() bool {
		p.tb.Helper()
		select {
		case <-p.ended:
			p.tb.Fatalf("waited for %s, and %s has ended: %v; its output ends with:\n%s", what, p.name(), p.fault, p.said())
			return false
		default:
			return ok()
		}
	})
}

func (p *Process) name() string { return filepath.Base(p.cmd.Path) }

// Await waits until ok is true, for some time at most. It asks from the test's own goroutine.
func Await(tb TB, limit time.Duration, what string, ok func() bool) {
	tb.Helper()
	over := time.NewTimer(limit)
	defer over.Stop()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-over.C:
			tb.Fatalf("waited %v for %s", limit, what)
			return
		}
	}
}

// said is the end of what the process wrote. Call it when it has ended.
func (p *Process) said() string {
	content, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	to := min(p.to, int64(len(content)))
	return string(content[min(to, max(p.from, to-shown)):to])
}

// Tail is the end of a file, for messages.
func Tail(file string) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(content[max(0, len(content)-shown):])
}

func size(file string) int64 {
	info, err := os.Stat(file)
	if err != nil {
		return 0
	}
	return info.Size()
}
