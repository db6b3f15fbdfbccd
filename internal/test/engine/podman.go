// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/zastava-otel/zastava/internal/privateruntime"
)

// RequirePodmanVariable makes PodmanForTest fail where it would skip, when it is not empty.
const RequirePodmanVariable = "ZASTAVA_TEST_REQUIRE_PODMAN"

// Podman is a private `podman system service`. There is no daemon behind it: its containers go on without it.
type Podman struct{ daemon }

// configuration is what Podman is told besides its arguments. It may raise no limit here, needs no network of its own, and its
// locks go into its own directory instead of the machine's /dev/shm.
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
// dir stays, with the log in it, until WipeDir.
func StartPodman(ctx context.Context, dir string) (*Podman, error) {
	dir = filepath.Clean(dir)
	path, programs, err := find(nil, "on Debian: apt-get install podman conmon runc", "podman", "conmon", "runc")
	if err != nil {
		return nil, err
	}
	p := &Podman{daemon{name: "podman", dir: dir, program: programs[0], path: path}}
	if err := p.prepare("root", "run", "tmp", "net"); err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "containers.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, configuration, dir), 0o600); err != nil {
		return nil, fmt.Errorf("prepare podman in %s: %w", dir, err)
	}
	p.env = []string{"CONTAINERS_CONF=" + conf}
	p.args = []string{
		"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--tmpdir", filepath.Join(dir, "tmp"),
		"--storage-driver", "overlay", "--cgroup-manager", "cgroupfs", "--events-backend", "file",
		"--runtime", "runc", // crun refuses a host with both versions of cgroups
		"system", "service", "--time", "0", p.Endpoint(),
	}
	if err := p.begin(ctx); err != nil {
		return nil, errors.Join(err, p.Kill(), p.client.Close())
	}
	return p, nil
}

// PodmanForTest starts Podman's service for a test and wipes it at the test's end. It skips the test, naming what is missing,
// where none can run.
func PodmanForTest(tb privateruntime.TB) *Podman {
	tb.Helper()
	return forTest(tb, "podman", RequirePodmanVariable, StartPodman)
}
