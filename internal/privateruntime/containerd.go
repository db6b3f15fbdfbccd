// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// kubernetesNamespace is the containerd namespace of everything made through CRI.
const kubernetesNamespace = "k8s.io"

// readyPoll is how often a starting daemon is asked whether it is ready
// (containerd 1.6 takes 0.15 to 0.3 s).
const readyPoll = 25 * time.Millisecond

// Containerd is a private containerd daemon. Its methods are not safe for
// concurrent use, except those that only read; a Driver's are.
type Containerd struct {
	dir    string
	socket string
	bin    binaries
	level  string
	conn   *grpc.ClientConn

	mu     sync.Mutex // guards what follows
	daemon *daemon    // nil while it is down
	wiped  bool
}

// daemon is one life of the containerd process.
type daemon struct {
	cmd    *exec.Cmd
	ended  chan struct{} // closed by the goroutine that waits for the process
	frozen bool
}

// Start writes the configuration, starts the daemon, waits until its CRI
// service answers, and imports PauseImage and ProbeImage. When it fails
// nothing is left running; Dir stays, with the log in it, until Wipe or
// WipeDir.
func Start(ctx context.Context, o Options) (*Containerd, error) {
	bin, err := o.find(ctx)
	if err != nil {
		return nil, err
	}
	c, err := prepare(o, bin)
	if err != nil {
		return nil, fmt.Errorf("prepare containerd in %s: %w", o.Dir, err)
	}
	var archive string
	cacheDir, err := o.cacheDir()
	if err == nil {
		archive, err = BuildImages(ctx, cacheDir)
	}
	if err == nil {
		err = c.launch(ctx)
	}
	if err == nil {
		err = c.Import(ctx, archive, PauseImage, ProbeImage)
	}
	if err != nil {
		return nil, errors.Join(err, c.Kill(), c.conn.Close())
	}
	return c, nil
}

func prepare(o Options, bin binaries) (*Containerd, error) {
	if !filepath.IsAbs(o.Dir) {
		return nil, errors.New("the directory must be absolute")
	}
	dir := filepath.Clean(o.Dir)
	c := &Containerd{dir: dir, socket: socketPath(dir), bin: bin, level: o.LogLevel}
	if c.level == "" {
		c.level = "info"
	}
	if len(c.socket) > maxSocketPath {
		return nil, fmt.Errorf("socket path %s is longer than %d bytes: choose a shorter directory", c.socket, maxSocketPath)
	}
	// containerd does not make its temp directory's parents.
	if err := os.MkdirAll(filepath.Join(dir, "tmp"), 0o700); err != nil {
		return nil, err
	}
	config, err := renderConfig(dir, c.socket, bin.major)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(configPath(dir), config, 0o600); err != nil {
		return nil, err
	}
	c.conn, err = dial(c.socket)
	return c, err
}

func socketPath(dir string) string { return filepath.Join(dir, "c.sock") }
func configPath(dir string) string { return filepath.Join(dir, "config.toml") }

// dial makes a connection that comes back at once after the daemon does.
func dial(socket string) (*grpc.ClientConn, error) {
	retry := backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond}
	return grpc.NewClient("unix://"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry, MinConnectTimeout: time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
}

// launch starts the process and waits until CRI answers.
func (c *Containerd) launch(ctx context.Context) error {
	log, err := os.OpenFile(c.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open containerd's log: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(c.bin.containerd, "--config", configPath(c.dir), "--log-level", c.level)
	cmd.Dir = c.dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "PATH="+c.bin.path)
	// A session of its own: Ctrl-C in the terminal is for the program that owns the daemon.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", c.bin.containerd, err)
	}
	d := &daemon{cmd: cmd, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in cmd.ProcessState, and why in the log
		close(d.ended)
	}()
	c.mu.Lock()
	c.daemon = d
	c.mu.Unlock()
	if err := c.waitReady(ctx, d); err != nil {
		return fmt.Errorf("wait for containerd %s: %w; its log ends with:\n%s", c.bin.version, err, c.LogTail(20))
	}
	return nil
}

// waitReady asks until CRI answers both calls: Version alone can answer before
// the plugin has recovered its containers.
func (c *Containerd) waitReady(ctx context.Context, d *daemon) error {
	client := cri.NewRuntimeServiceClient(c.conn)
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			if _, err := client.Version(ctx, &cri.VersionRequest{}); err != nil {
				return err
			}
			_, err := client.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
			return err
		}()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-d.ended:
			return fmt.Errorf("it ended by itself (%s)", d.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("%w (last answer: %w)", context.Cause(ctx), err)
		}
	}
}

// Import loads an image archive and waits until CRI knows the named images.
func (c *Containerd) Import(ctx context.Context, archive string, names ...string) error {
	load := exec.CommandContext(ctx, c.bin.ctr, "--address", c.socket, "--namespace", kubernetesNamespace, "images", "import", archive)
	load.Env = append(os.Environ(), "PATH="+c.bin.path)
	if said, err := load.CombinedOutput(); err != nil {
		return fmt.Errorf("import %s into containerd: %w: %s", archive, err, bytes.TrimSpace(said))
	}
	// CRI learns of a new image from an event, a moment after the import.
	images := cri.NewImageServiceClient(c.conn)
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for _, name := range names {
		for {
			answer, err := images.ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: name}})
			if err != nil {
				return fmt.Errorf("look for image %s: %w", name, err)
			}
			if answer.GetImage() != nil {
				break
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("wait for image %s: %w", name, context.Cause(ctx))
			}
		}
	}
	return nil
}

// Endpoint is the address as runtimes are configured: unix:///….
func (c *Containerd) Endpoint() string { return "unix://" + c.socket }

// Conn is the connection to the daemon's socket: CRI v1 and containerd's own
// API. It survives restarts of the daemon and is closed by Wipe.
func (c *Containerd) Conn() *grpc.ClientConn { return c.conn }

// Dir is Options.Dir.
func (c *Containerd) Dir() string { return c.dir }

// Version is the daemon's, such as 1.6.20.
func (c *Containerd) Version() string { return c.bin.version }

// LogFile is the daemon's log.
func (c *Containerd) LogFile() string { return filepath.Join(c.dir, "containerd.log") }

// LogTail is the last n lines of the daemon's log, for error messages.
func (c *Containerd) LogTail(n int) string {
	content, err := os.ReadFile(c.LogFile())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// PID is the daemon's process id, or 0 while it is down.
func (c *Containerd) PID() int {
	if d := c.running(); d != nil {
		return d.cmd.Process.Pid
	}
	return 0
}

// Ended is closed when the daemon that runs now ends, for whatever reason; it
// is nil (blocks for ever) while none runs.
func (c *Containerd) Ended() <-chan struct{} {
	if d := c.running(); d != nil {
		return d.ended
	}
	return nil
}

func (c *Containerd) running() *daemon {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.daemon
}

// Stop ends the daemon with SIGTERM and waits for it. Containers and their
// shims live on, as they do in production. Stopping a stopped daemon is no error.
func (c *Containerd) Stop(ctx context.Context) error {
	if err := c.Thaw(); err != nil { // a stopped process would not act on SIGTERM
		return err
	}
	return c.end(ctx, syscall.SIGTERM)
}

// Kill ends the daemon with SIGKILL and waits for it. Containers live on.
func (c *Containerd) Kill() error { return c.end(context.Background(), syscall.SIGKILL) }

func (c *Containerd) end(ctx context.Context, with syscall.Signal) error {
	d := c.running()
	if d == nil {
		return nil
	}
	if err := d.cmd.Process.Signal(with); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to containerd: %w", with, err)
	}
	select {
	case <-d.ended:
	case <-ctx.Done():
		return fmt.Errorf("wait for containerd to end after %s: %w", with, context.Cause(ctx))
	}
	c.mu.Lock()
	c.daemon = nil
	c.mu.Unlock()
	return nil
}

// Freeze stops the daemon with SIGSTOP: its socket still accepts, nothing answers.
func (c *Containerd) Freeze() error { return c.freeze(true, syscall.SIGSTOP) }

// Thaw undoes Freeze. Thawing a daemon that is not frozen is no error.
func (c *Containerd) Thaw() error { return c.freeze(false, syscall.SIGCONT) }

func (c *Containerd) freeze(frozen bool, by syscall.Signal) error {
	d := c.running()
	if d == nil || d.frozen == frozen {
		return nil
	}
	if err := d.cmd.Process.Signal(by); err != nil {
		return fmt.Errorf("send %s to containerd: %w", by, err)
	}
	d.frozen = frozen
	if frozen {
		return awaitStopped(d.cmd.Process.Pid)
	}
	return nil
}

// Restart starts the daemon again on the same directory, and stops it first
// when it runs. It returns when CRI answers.
func (c *Containerd) Restart(ctx context.Context) error {
	if err := c.Stop(ctx); err != nil {
		return err
	}
	return c.launch(ctx)
}

// awaitStopped waits until the kernel has stopped every thread of a process: until then some of them still answer.
func awaitStopped(pid int) error {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil {
			return err
		}
		stopped := len(stats) > 0
		for _, stat := range stats {
			raw, err := os.ReadFile(stat)
			if err != nil {
				continue // the thread has ended
			}
			_, state, _ := strings.Cut(string(raw), ") ")
			stopped = stopped && strings.HasPrefix(state, "T")
		}
		if stopped {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("containerd (process %d) did not stop within 10 s of SIGSTOP", pid)
		}
	}
}
