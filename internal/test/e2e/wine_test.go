// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/test/process"
	"github.com/zastava-otel/zastava/internal/test/proxy"
)

// wineVariable names the directory that internal/test/wine/prepare made. Without it the tests of the Windows build are skipped.
const wineVariable = "ZASTAVA_WINE"

const (
	windowsCollector = "otelcol-zastava-slim_windows_amd64.exe"
	programFiles     = `C:\Program Files\Zastava\`
)

// wine is a Wine prefix.
type wine struct {
	t   testing.TB
	dir string
}

// newWine returns the prefix. Its processes end with the test.
func newWine(tb testing.TB) *wine {
	tb.Helper()
	dir := os.Getenv(wineVariable)
	if dir == "" {
		tb.Skip("the Windows build is not tested here: run `make e2e-windows`")
	}
	dir, err := filepath.Abs(dir)
	require.NoError(tb, err)
	w := &wine{t: tb, dir: dir}
	// Otherwise services start with the first program and end with the last one, which takes seconds each time.
	require.NoError(tb, w.server("--persistent"))
	tb.Cleanup(func() {
		_ = w.server("--kill") // fails when no process runs
		_ = w.server("--wait")
	})
	return w
}

// server sends a command to the wineserver that all programs of the prefix share.
func (w *wine) server(args ...string) error {
	ctx, cancel := context.WithTimeout(finally(), patient)
	defer cancel()
	cmd := exec.CommandContext(ctx, "wineserver", args...)
	cmd.Env = append(os.Environ(), "WINEPREFIX="+filepath.Join(w.dir, "_prefix"))
	return cmd.Run()
}

// loader returns the path of the script that runs a Windows program.
func (w *wine) loader() string {
	return filepath.Join(process.Root(w.t), "internal", "test", "wine", "run")
}

// try runs a Windows program to its end and returns its output.
func (w *wine) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(finally(), patient)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.loader(), args...)
	out, err := os.CreateTemp(w.t.TempDir(), "out") // not a pipe, which a started service would keep open
	if err != nil {
		return "", err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	output, _ := os.ReadFile(out.Name())
	return string(output), err
}

// do runs a Windows program that must succeed, and returns its output.
func (w *wine) do(args ...string) string {
	w.t.Helper()
	output, err := w.try(args...)
	require.NoError(w.t, err, "%s: %s", strings.Join(args, " "), output)
	return output
}

// drive returns the path on this machine of a path on drive C.
func (w *wine) drive(path string) string {
	return filepath.Join(w.dir, "_prefix", "drive_c", filepath.FromSlash(strings.ReplaceAll(strings.TrimPrefix(path, `C:\`), `\`, "/")))
}

// onDriveZ returns the path that Windows programs use for a path of this machine.
func onDriveZ(path string) string { return `Z:` + strings.ReplaceAll(path, "/", `\`) }

// pipe is a named pipe in Wine that forwards to a Unix socket.
type pipe struct {
	w      *wine
	name   string
	to     *proxy.Proxy
	log    string
	bridge *process.Process
}

// serve serves the named pipe \\.\pipe\<name> and forwards its clients to a Unix socket.
func (w *wine) serve(name, socket string) *pipe {
	w.t.Helper()
	p := &pipe{w: w, name: name, to: proxy.Start(w.t, proxy.Loopback, "unix://"+strings.TrimPrefix(socket, "unix://")), log: filepath.Join(w.t.TempDir(), "bridge.log")}
	p.open()
	return p
}

// open serves the pipe again after close.
func (p *pipe) open() {
	p.w.t.Helper()
	require.NoError(p.w.t, os.WriteFile(p.log, nil, 0o600))
	p.bridge = process.Start(p.w.t, process.Program{
		Path: p.w.loader(), Log: p.log,
		Args: []string{process.Built(p.w.t, filepath.Join("wine", "pipebridge.exe")), "-pipe", `\\.\pipe\` + p.name, "-to", p.to.Address()},
	})
	p.bridge.Await(patient, "the pipe "+p.name+" to be served", func() bool {
		output, _ := os.ReadFile(p.log)
		return strings.Contains(string(output), "ready")
	})
}

// close removes the pipe.
func (p *pipe) close() { p.bridge.Kill() }

// references are the environment variables in a configuration.
var references = regexp.MustCompile(`\$\{env:([A-Z_]+)(?::-([^}]*))?\}`)

// windowsSite installs the Windows collector as a service, with install.cmd and config.yaml of deploy/windows. References to the environment in the
// configuration are replaced by values, because the service does not have these variables.
func (w *wine) windowsSite(s *stack, e *dockerDriver, endpoint string, extra ...string) *site {
	w.t.Helper()
	shipped, err := os.ReadFile(filepath.Join(process.Root(w.t), "deploy", "windows", "config.yaml"))
	require.NoError(w.t, err)
	values := map[string]string{
		"ZASTAVA_ENDPOINT": s.base, "ZASTAVA_TENANT": tenant, "ZASTAVA_STORAGE_DIR": onDriveZ(filepath.Join(s.dir, "storage")),
		"ZASTAVA_HEALTH_ENDPOINT": s.health, "ZASTAVA_METRICS_PORT": s.metrics.Port(), "ZASTAVA_RUNTIME_ENDPOINT": endpoint,
		"ZASTAVA_LOG_FILE": strings.ReplaceAll(onDriveZ(filepath.Join(s.dir, "collector.log")), `\`, `/`),
	}
	config := references.ReplaceAllStringFunc(string(shipped), func(reference string) string {
		parts := references.FindStringSubmatch(reference)
		if v, ok := values[parts[1]]; ok {
			return v
		}
		return parts[2]
	})
	file := filepath.Join(s.dir, "config.yaml")
	require.NoError(w.t, os.WriteFile(file, []byte(config), 0o600))
	args := []string{"cmd", "/c", onDriveZ(filepath.Join(process.Root(w.t), "deploy", "windows", "install.cmd")), programFiles + windowsCollector, onDriveZ(file)}
	if len(extra) > 0 {
		more := filepath.Join(s.dir, "extra.yaml")
		require.NoError(w.t, os.WriteFile(more, []byte(strings.Join(extra, "\n")+"\n"), 0o600))
		args = append(args, "--config "+onDriveZ(more))
	}
	require.NoError(w.t, os.MkdirAll(w.drive(programFiles), 0o755))
	copyFile(w.t, process.Built(w.t, windowsCollector), w.drive(programFiles+windowsCollector))
	_, _ = w.try("sc", "delete", "zastava") // of an interrupted run
	w.do(args...)
	w.t.Cleanup(func() {
		if output, err := w.try("cmd", "/c", onDriveZ(filepath.Join(process.Root(w.t), "deploy", "windows", "uninstall.cmd"))); err != nil {
			w.t.Errorf("uninstall the service: %v: %s", err, output)
		}
		if w.t.Failed() {
			w.t.Logf("the end of the collector's log:\n%s", process.Tail(filepath.Join(s.dir, "collector.log")))
		}
	})
	at := &site{stack: s, engine: e}
	at.start = func() {
		w.t.Helper()
		// Wine may report a killed service as running for a while, and may restart it by itself.
		s.await("the service to run", func() bool {
			_, _ = w.try("net", "start", "zastava")
			return len(w.processes(windowsCollector)) == 1
		})
	}
	at.stop = func() {
		w.t.Helper()
		output := w.do("net", "stop", "zastava")
		require.Contains(w.t, output, "was stopped successfully")
	}
	at.kill = func() {
		w.t.Helper()
		for _, pid := range w.processes(windowsCollector) {
			require.NoError(w.t, syscall.Kill(pid, syscall.SIGKILL))
			s.await("the killed service to be gone", func() bool { return syscall.Kill(pid, 0) != nil || isZombie(pid) })
		}
	}
	return at
}

// processes returns the ids of the processes of the prefix that run a program.
func (w *wine) processes(program string) []int {
	var found []int
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		environment, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if strings.HasPrefix(string(line), programFiles+program) && strings.Contains(string(environment), "WINEPREFIX="+filepath.Join(w.dir, "_prefix")+"\x00") {
			found = append(found, pid)
		}
	}
	return found
}

// isZombie reports whether a process has ended and its parent has not waited for it yet.
func isZombie(pid int) bool {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z")
}

func copyFile(tb testing.TB, from, to string) {
	tb.Helper()
	in, err := os.Open(from)
	require.NoError(tb, err)
	defer in.Close()
	out, err := os.Create(to)
	require.NoError(tb, err)
	_, err = io.Copy(out, in)
	require.NoError(tb, err)
	require.NoError(tb, out.Close())
}
