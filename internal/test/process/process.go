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
	shown     = 4000                  // bytes of a log, when a test has failed
	poll      = 20 * time.Millisecond // the interval of Await's checks
	stopLimit = 2 * time.Minute       // for the end after SIGTERM, on a small busy machine
)

// Process is a running program.
type Process struct {
	tb    TB
	cmd   *exec.Cmd
	log   string
	from  int64         // the start of its output in the log, to which others may write before and after
	ended chan struct{} // closed by the goroutine that waits for the process
	fault error         // how it ended; like to, valid once ended is closed
	to    int64         // the end of its output
}

// Start starts a program. The process ends with the test at the latest.
func Start(tb TB, program Program) *Process {
	tb.Helper()
	out, err := os.OpenFile(program.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		tb.Fatalf("start %s: %v", program.Path, err)
	}
	cmd := exec.Command(program.Path, program.Args...)
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
			tb.Logf("the end of %s:\n%s", program.Log, p.tail())
		}
	})
	return p
}

// Stop sends SIGTERM and waits for the end. An exit status other than 0 fails the test, unless the process had ended before.
func (p *Process) Stop() {
	p.tb.Helper()
	select {
	case <-p.ended:
		return
	default:
	}
	p.Signal(syscall.SIGTERM)
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-p.ended:
	case <-limit.C:
		p.tb.Fatalf("%s did not end within %v of SIGTERM", p.name(), stopLimit)
		return
	}
	if p.fault != nil {
		p.tb.Fatalf("%s ended with an error: %v", p.name(), p.fault)
	}
}

// Kill ends the process with SIGKILL and waits for it.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // an error means that it has ended
	<-p.ended
}

// Signal sends a signal. It does nothing when the process has ended.
func (p *Process) Signal(by os.Signal) {
	p.tb.Helper()
	if err := p.cmd.Process.Signal(by); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.tb.Errorf("send %s %v: %v", p.name(), by, err)
	}
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Await waits until ok returns true. It fails the test at once when the process ends meanwhile.
func (p *Process) Await(limit time.Duration, what string, ok func() bool) {
	p.tb.Helper()
	Await(p.tb, limit, what, func() bool {
		p.tb.Helper()
		select {
		case <-p.ended:
			p.tb.Fatalf("waited for %s, and %s has ended: %v; its output ends with:\n%s", what, p.name(), p.fault, p.tail())
			return false
		default:
			return ok()
		}
	})
}

func (p *Process) name() string { return filepath.Base(p.cmd.Path) }

// Await waits until ok returns true, and fails the test after limit. It calls ok on the test's own goroutine.
func Await(tb TB, limit time.Duration, what string, ok func() bool) {
	tb.Helper()
	over := time.NewTimer(limit)
	defer over.Stop()
	tick := time.NewTicker(poll)
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

// tail returns the end of the process's output. Call it once the process has ended.
func (p *Process) tail() string {
	content, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	to := min(p.to, int64(len(content)))
	return string(content[min(to, max(p.from, to-shown)):to])
}

// Tail returns the end of a file, for messages.
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
