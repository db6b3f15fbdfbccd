// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/realruntime"
)

// Podman is a private `podman system service`. Its containers need no daemon and run on without it.
type Podman struct{ engine }

// configuration is Podman's containers.conf. It raises no limits, needs no network, and has its locks in its own directory instead
// of the machine's /dev/shm.
const configuration = `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
apparmor_profile = ""
netns = "host"
log_driver = "k8s-file"
[engine]
events_logfile_path = "%[1]s/events.log"
lock_type = "file"
[network]
network_config_dir = "%[1]s/net"
`

// StartPodman starts Podman's service in dir and loads the images of package privateruntime. When it fails nothing is left running;
// dir stays, with the log in it, until WipeDir. The error wraps privateruntime.ErrUnavailable where this machine lacks something.
func StartPodman(ctx context.Context, dir string) (*Podman, error) {
	found, err := privateruntime.FindPrograms(nil, "on Debian: apt-get install podman conmon runc", "podman", "conmon", "runc")
	if err != nil {
		return nil, err
	}
	p := &Podman{}
	if err := p.prepare("podman", dir, "root", "run", "tmp", "net"); err != nil {
		return nil, err
	}
	conf := filepath.Join(p.dir, "containers.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, configuration, p.dir), 0o600); err != nil {
		return nil, fmt.Errorf("prepare podman in %s: %w", p.dir, err)
	}
	p.daemon.Program, p.daemon.Env = found.Files["podman"], []string{"PATH=" + found.Path, "CONTAINERS_CONF=" + conf}
	p.daemon.Args = []string{
		"--root", filepath.Join(p.dir, "root"), "--runroot", filepath.Join(p.dir, "run"), "--tmpdir", filepath.Join(p.dir, "tmp"),
		"--storage-driver", "overlay", "--cgroup-manager", "cgroupfs", "--events-backend", "file",
		"--runtime", "runc", // crun refuses a host with both versions of cgroups
		"system", "service", "--time", "0", p.Endpoint(),
	}
	if err := p.start(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// PodmanForTest starts Podman's service for a test and wipes it at the test's end; see realruntime.Start.
func PodmanForTest(tb testing.TB) *Podman {
	tb.Helper()
	return realruntime.Start(tb, realruntime.Kind[*Podman]{
		Name: "podman", Require: "ZASTAVA_TEST_REQUIRE_PODMAN", WipeDir: WipeDir, Start: StartPodman,
	})
}
