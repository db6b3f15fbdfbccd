// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package daemon starts, awaits and ends the process of a private runtime, which can be started again after it has ended.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// readyPoll is the interval of readiness checks. containerd 1.6 takes 0.15 to 0.3 s to start, dockerd 20.10 takes 0.6 to 1 s.
	readyPoll = 25 * time.Millisecond
	readyCall = 2 * time.Second
)

// Daemon is a runtime's process. Its exported fields must not change after the first Launch. It is safe for concurrent use, except
// that Launch and End must not run at the same time.
type Daemon struct {
	Name    string // for messages
	Dir     string // the working directory
	Program string
	Args    []string
	Env     []string // added to this process's environment
	LogFile string   // of the daemon's output; each Launch appends to it

	mu      sync.Mutex // guards current
	current *process   // nil while the daemon is down
}

type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed by the goroutine that waits for the process
}

// Launch starts the process and waits until ready returns nil, the process ends, or ctx ends. It does not end the process when it
// fails. Each call of ready may take 2 s.
func (d *Daemon) Launch(ctx context.Context, ready func(ctx context.Context) error) error {
	p, err := d.start()
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.current = p
	d.mu.Unlock()
	if err := p.await(ctx, ready); err != nil {
		return fmt.Errorf("wait for %s: %w; its log ends with:\n%s", d.Name, err, d.LogTail(20))
	}
	return nil
}

func (d *Daemon) start() (*process, error) {
	log, err := os.OpenFile(d.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", d.Name, err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(d.Program, d.Args...)
	cmd.Dir = d.Dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), d.Env...)
	// A session of its own: Ctrl-C in the terminal is for the program that owns the daemon.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", d.Program, err)
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in cmd.ProcessState, and why in the log
		close(p.ended)
	}()
	return p, nil
}

func (p *process) await(ctx context.Context, ready func(ctx context.Context) error) error {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		call, cancel := context.WithTimeout(ctx, readyCall)
		err := ready(call)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return fmt.Errorf("it ended by itself (%s)", p.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("%w (last answer: %w)", context.Cause(ctx), err)
		}
	}
}

// PID returns the process id, or 0 while the daemon is down.
func (d *Daemon) PID() int {
	if p := d.running(); p != nil {
		return p.cmd.Process.Pid
	}
	return 0
}

// Ended returns a channel that is closed when the current process ends, for whatever reason. It is nil, and so blocks without
// limit, while the daemon is down.
func (d *Daemon) Ended() <-chan struct{} {
	if p := d.running(); p != nil {
		return p.ended
	}
	return nil
}

func (d *Daemon) running() *process {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.current
}

// Signal sends a signal to the daemon. It does nothing while the daemon is down.
func (d *Daemon) Signal(signal syscall.Signal) error {
	p := d.running()
	if p == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to %s: %w", signal, d.Name, err)
	}
	return nil
}

// End sends a signal to the daemon and waits until the process has ended. Ending a daemon that is down is no error.
func (d *Daemon) End(ctx context.Context, signal syscall.Signal) error {
	p := d.running()
	if p == nil {
		return nil
	}
	if err := d.Signal(signal); err != nil {
		return err
	}
	select {
	case <-p.ended:
	case <-ctx.Done():
		return fmt.Errorf("wait for %s to end after %s: %w", d.Name, signal, context.Cause(ctx))
	}
	d.mu.Lock()
	d.current = nil
	d.mu.Unlock()
	return nil
}

// LogTail returns the last n lines of the log, for error messages.
func (d *Daemon) LogTail(n int) string {
	content, err := os.ReadFile(d.LogFile)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
