// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/sys/reexec"

	"github.com/zastava-otel/zastava/internal/evidence/procfs"
)

const (
	// The process is killed when it uses more than cpuBurst beyond cpuSlack times its share. The sampler inside keeps to its share by itself,
	// so only a parser that does not end gets here; a slow machine hashes the largest file that is read in 3 s, and Go's collector and
	// the start of the process are not in the sampler's own account.
	cpuSlack = 2
	cpuBurst = 10 * time.Second
	cpuEvery = time.Second
	// tick is the unit of /proc/PID/stat: USER_HZ, 100 on every architecture that Go supports.
	tick = time.Second / 100
)

// child is a sampler process and the watch over its CPU time.
type child struct {
	cmd    *exec.Cmd
	stderr *tail
	exited chan struct{} // closed after the process was waited for

	mu    sync.Mutex
	state string
}

// start starts the process and exchanges the first messages with it.
func start(ctx context.Context, config procfs.Config, files *fileMemory) (*peer, error) {
	requests, in, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start the sampler process: %w", err)
	}
	out, replies, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the sampler process: %w", err), requests.Close(), in.Close())
	}
	c, err := newChild(requests, replies, files.file, config.MaxCPUFraction)
	_, _ = requests.Close(), replies.Close() // the child has its own
	if err != nil {
		return nil, errors.Join(err, in.Close(), out.Close())
	}
	return newPeer(ctx, in, out, c, config)
}

// newChild starts the process with the two files as its input and output.
func newChild(in, out, memory *os.File, share float64) (*child, error) {
	c := &child{stderr: &tail{}, exited: make(chan struct{})}
	c.cmd = reexec.Command(Name, commandConfine)
	c.cmd.SysProcAttr = nil // no death signal: it is tied to a thread that may end; the process ends with its input
	c.cmd.Env = []string{}
	c.cmd.WaitDelay = time.Second // for the pipe of stderr, in case something else has its other end
	c.cmd.Dir = "/"
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = in, out, c.stderr
	if memory != nil {
		c.cmd.ExtraFiles = []*os.File{memory}
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the sampler process: %w; allow this program to start itself, or set evidence.enabled to false", err)
	}
	go c.reap()
	go c.guard(share)
	return c, nil
}

// reap waits for the process, so that none is left as a zombie.
func (c *child) reap() {
	_ = c.cmd.Wait()
	c.mu.Lock()
	c.state = c.cmd.ProcessState.String()
	c.mu.Unlock()
	close(c.exited)
}

// guard kills the process when it uses too much CPU time.
func (c *child) guard(share float64) {
	allowance := newAllowance(share, time.Now())
	ticker := time.NewTicker(cpuEvery)
	defer ticker.Stop()
	for {
		select {
		case <-c.exited:
			return
		case <-ticker.C:
		}
		used, err := cpuTime(c.cmd.Process.Pid)
		if err == nil && allowance.exceeded(used, time.Now()) {
			c.stderr.note(fmt.Sprintf("killed: it used %v of CPU time, more than its share of %g allows", used.Round(time.Millisecond), share))
			c.kill()
			return
		}
	}
}

// allowance is the CPU time that a process may use: cpuBurst at once, which grows again with cpuSlack times its share.
type allowance struct {
	share float64
	left  time.Duration
	used  time.Duration
	at    time.Time
}

func newAllowance(share float64, now time.Time) *allowance {
	return &allowance{share: share, left: cpuBurst, at: now}
}

// exceeded subtracts what was used since the last call, and reports whether that is more than is left.
func (a *allowance) exceeded(used time.Duration, now time.Time) bool {
	a.left = min(cpuBurst, a.left+time.Duration(cpuSlack*a.share*float64(now.Sub(a.at)))) - (used - a.used)
	a.used, a.at = used, now
	return a.left < 0
}

func (c *child) kill() { _ = c.cmd.Process.Kill() }

// wait waits until the process has ended, and kills it after a while.
func (c *child) wait(patience time.Duration) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-c.exited:
	case <-timer.C:
		c.kill()
		<-c.exited
	}
}

// outcome returns how the process exited and the first line of what it wrote.
func (c *child) outcome() string {
	select {
	case <-c.exited:
	case <-time.After(time.Second):
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	line, _, _ := strings.Cut(c.stderr.String(), "\n")
	if line == "" {
		return c.state
	}
	return fmt.Sprintf("%s, %.200q", c.state, line)
}

// cpuTime returns the CPU time of a process with all its threads.
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(after) // from the state, which is the third of proc_pid_stat(5)
	if len(fields) < 13 {
		return 0, io.ErrUnexpectedEOF
	}
	user, err := strconv.ParseUint(fields[11], 10, 63)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseUint(fields[12], 10, 63)
	if err != nil {
		return 0, err
	}
	return time.Duration(user+system) * tick, nil
}

// tail keeps the first bytes that the process wrote: Go says the cause of a fatal error first.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const maxTail = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p[:min(len(p), maxTail-len(t.text))]...)
	return len(p), nil
}

// note puts a line before the others.
func (t *tail) note(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append([]byte(line+"\n"), t.text...)
	t.text = t.text[:min(len(t.text), maxTail)]
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
