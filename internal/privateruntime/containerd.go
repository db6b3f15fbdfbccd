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

	"github.com/zastava-otel/zastava/internal/privateruntime/daemon"
)

// kubernetesNamespace is the containerd namespace of everything made through CRI.
const kubernetesNamespace = "k8s.io"

// imagePoll is the interval of the checks whether CRI knows an imported image.
const imagePoll = 25 * time.Millisecond

// Containerd is a private containerd daemon. Its methods are not safe for concurrent use, except those that only read; a Driver's
// are.
type Containerd struct {
	dir    string
	socket string
	bin    binaries
	conn   *grpc.ClientConn
	daemon daemon.Daemon

	mu     sync.Mutex // guards what follows
	frozen bool
	wiped  bool
}

// Start writes the configuration, starts the daemon, waits until its CRI service answers, and imports PauseImage and ProbeImage.
// When it fails nothing is left running; Dir stays, with the log in it, until Wipe or WipeDir. The error wraps ErrUnavailable where
// this machine lacks something.
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
	c := &Containerd{dir: dir, socket: socketPath(dir), bin: bin}
	level := o.LogLevel
	if level == "" {
		level = "info"
	}
	c.daemon = daemon.Daemon{
		Name: "containerd " + bin.version, Dir: dir, Program: bin.containerd, Args: []string{"--config", configPath(dir), "--log-level", level},
		Env: []string{"PATH=" + bin.path}, LogFile: filepath.Join(dir, "containerd.log"),
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

// dial returns a connection that reconnects soon after the daemon is back.
func dial(socket string) (*grpc.ClientConn, error) {
	retry := backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond}
	return grpc.NewClient("unix://"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry, MinConnectTimeout: time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
}

// launch starts the process and waits until CRI answers.
func (c *Containerd) launch(ctx context.Context) error {
	client := cri.NewRuntimeServiceClient(c.conn)
	return c.daemon.Launch(ctx, func(ctx context.Context) error {
		if _, err := client.Version(ctx, &cri.VersionRequest{}); err != nil {
			return err
		}
		// Version can answer before the plugin has recovered its containers.
		_, err := client.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
		return err
	})
}

// Import loads an image archive and waits until CRI knows the named images.
func (c *Containerd) Import(ctx context.Context, archive string, names ...string) error {
	load := exec.CommandContext(ctx, c.bin.ctr, "--address", c.socket, "--namespace", kubernetesNamespace, "images", "import", archive)
	load.Env = append(os.Environ(), "PATH="+c.bin.path)
	if output, err := load.CombinedOutput(); err != nil {
		return fmt.Errorf("import %s into containerd: %w: %s", archive, err, bytes.TrimSpace(output))
	}
	// CRI reads about a new image in an event, a moment after the import.
	images := cri.NewImageServiceClient(c.conn)
	tick := time.NewTicker(imagePoll)
	defer tick.Stop()
	for _, name := range names {
		for {
			answer, err := images.ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: name}})
			if err != nil {
				return fmt.Errorf("get the status of image %s: %w", name, err)
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

// Endpoint returns the address in the form in which runtimes are configured: unix:///….
func (c *Containerd) Endpoint() string { return "unix://" + c.socket }

// Conn returns the connection to the daemon's socket, for CRI v1 and containerd's own API. It survives restarts of the daemon; Wipe
// closes it.
func (c *Containerd) Conn() *grpc.ClientConn { return c.conn }

// Dir returns Options.Dir.
func (c *Containerd) Dir() string { return c.dir }

// Version returns the daemon's version, such as 1.6.20.
func (c *Containerd) Version() string { return c.bin.version }

// LogFile returns the path of the daemon's log.
func (c *Containerd) LogFile() string { return c.daemon.LogFile }

// LogTail returns the last n lines of the daemon's log, for error messages.
func (c *Containerd) LogTail(n int) string { return c.daemon.LogTail(n) }

// PID returns the daemon's process id, or 0 while it is down.
func (c *Containerd) PID() int { return c.daemon.PID() }

// Ended returns a channel that is closed when the daemon that runs now ends, for whatever reason. It is nil, and so blocks without
// limit, while none runs.
func (c *Containerd) Ended() <-chan struct{} { return c.daemon.Ended() }

// Stop ends the daemon with SIGTERM and waits for it. Containers and their shims run on, as they do in production. Stopping a
// stopped daemon is no error.
func (c *Containerd) Stop(ctx context.Context) error {
	if err := c.Thaw(); err != nil { // a stopped process would not act on SIGTERM
		return err
	}
	return c.end(ctx, syscall.SIGTERM)
}

// Kill ends the daemon with SIGKILL and waits for it. Containers run on.
func (c *Containerd) Kill() error { return c.end(context.Background(), syscall.SIGKILL) }

func (c *Containerd) end(ctx context.Context, with syscall.Signal) error {
	if err := c.daemon.End(ctx, with); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen = false
	return nil
}

// Restart starts the daemon again on the same directory, and stops it first when it runs. It returns when CRI answers.
func (c *Containerd) Restart(ctx context.Context) error {
	if err := c.Stop(ctx); err != nil {
		return err
	}
	return c.launch(ctx)
}

// Freeze stops the daemon with SIGSTOP: its socket still accepts connections, and nothing answers.
func (c *Containerd) Freeze() error {
	if err := c.freeze(true, syscall.SIGSTOP); err != nil {
		return err
	}
	if pid := c.PID(); pid != 0 {
		return awaitStopped(pid)
	}
	return nil
}

// Thaw undoes Freeze. Thawing a daemon that is not frozen is no error.
func (c *Containerd) Thaw() error { return c.freeze(false, syscall.SIGCONT) }

func (c *Containerd) freeze(frozen bool, by syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen == frozen || c.PID() == 0 {
		return nil
	}
	c.frozen = frozen
	return c.daemon.Signal(by)
}

// awaitStopped waits until the kernel has stopped every thread of a process, because until then some of them still answer.
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
