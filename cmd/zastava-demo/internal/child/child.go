// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package child runs a program as a child process, with its output in a file. A child does not outlive this program: Stop ends it in
// order, and the kernel ends it if this program is killed.
package child

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Child is a started program.
type Child struct {
	name, log string
	cmd       *exec.Cmd
	ended     chan struct{} // closed by the goroutine that waits for the process
}

// Start runs the program at path with the environment of this process and env, and writes its output to the file log, which it truncates.
// name is for messages.
//
// The caller's goroutine must be locked to its thread and must run as long as the child: the kernel sends the child SIGTERM when that
// thread ends (PR_SET_PDEATHSIG in prctl(2)).
func Start(name, log, path string, args, env []string) (*Child, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("start the %s: %w", name, err)
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(path, args...) //nolint:gosec,noctx // which program is the user's choice, and Stop ends it
	c := &Child{name: name, log: log, cmd: cmd, ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stdout, c.cmd.Stderr = out, out
	// A process group of its own, so that Ctrl-C in the terminal signals only this program.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the %s: %w", name, err)
	}
	go func() {
		_ = c.cmd.Wait() // how it ended is in cmd.ProcessState
		close(c.ended)
	}()
	return c, nil
}

// Ended returns a channel that is closed when the child has ended.
func (c *Child) Ended() <-chan struct{} { return c.ended }

// Fault returns an error with the child's exit status and the last lines of its output. Call it only after Ended is closed.
func (c *Child) Fault() error {
	return fmt.Errorf("the %s ended by itself (%s); its output is in %s and ends with:\n%s", c.name, c.cmd.ProcessState, c.log, Tail(c.log, 15))
}

// Stop sends SIGTERM, and SIGKILL after the grace period, and waits for the end. It returns an error if the child had to be killed, and nil
// if it had ended before.
func (c *Child) Stop(grace time.Duration) error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop the %s: %w", c.name, err)
	}
	limit := time.NewTimer(grace)
	defer limit.Stop()
	select {
	case <-c.ended:
		return nil
	case <-limit.C:
	}
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill the %s: %w", c.name, err)
	}
	<-c.ended
	return fmt.Errorf("the %s did not stop within %s and was killed; its output is in %s", c.name, grace, c.log)
}

// WaitOK requests url repeatedly until the status is 200. It returns an error if the child ends or ctx is done before.
func (c *Child) WaitOK(ctx context.Context, client *http.Client, url string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := get(ctx, client, url)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-c.ended:
			return c.Fault()
		case <-ctx.Done():
			return fmt.Errorf("wait for the %s: %w (last try: %w); its output is in %s and ends with:\n%s",
				c.name, context.Cause(ctx), err, c.log, Tail(c.log, 15))
		}
	}
}

func get(ctx context.Context, client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	answer, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, answer.Status)
	}
	return nil
}

// Tail returns the last n lines of a file, for messages.
func Tail(file string, n int) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	return "  " + strings.Join(lines[max(0, len(lines)-n):], "\n  ")
}
