// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package engine runs a private dockerd, or Podman's service, for tests: with its own data root, socket, containerd and cgroup, the
// images of package privateruntime, no bridge and no firewall rules. It shares with the machine's own Docker only the directories
// /run/containerd/s and /run/docker/plugins, where names are unique. Wipe leaves no process, mount, cgroup or file.
//
// It needs root, cgroups, and dockerd, containerd and runc (on Debian: apt-get install docker.io) or podman, conmon and runc. It
// needs no registry. versions/ pins a newer dockerd, which `make runtimes` builds. On anything but Linux the package is empty.
package engine
