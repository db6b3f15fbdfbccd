// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime

import (
	"bytes"
	"fmt"
	"path/filepath"
	"text/template"

	"golang.org/x/sys/unix"
)

// daemonConfig fills configTemplate. All paths are below Dir.
type daemonConfig struct {
	Dir, Socket, PauseImage, Snapshotter string
	Major                                int
}

// configTemplate is version 2 of containerd's configuration for 1.x and
// version 3 for 2.x: the same settings under two sets of names.
//
//   - restrict_oom_score_adj: without CAP_SYS_RESOURCE the sandbox's -998
//     cannot be set, and runc dies with an error that names something else.
//   - disable_apparmor: the profile cannot be loaded where AppArmor is absent.
//   - SystemdCgroup = false: pods live in cgroups that this package names.
//   - runc's Root: its state goes with the directory, not to /run/containerd.
//   - cni: directories without a plugin. Pods use the host's network.
//   - the snapshotters that are switched off only log errors here.
var configTemplate = template.Must(template.New("config").Parse(`version = {{if eq .Major 1}}2{{else}}3{{end}}
root = "{{.Dir}}/root"
state = "{{.Dir}}/state"
temp = "{{.Dir}}/tmp"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "{{.Socket}}"
[ttrpc]
  address = "{{.Socket}}.ttrpc"
[debug]
  address = "{{.Dir}}/d.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{{.Dir}}/opt"
{{if eq .Major 1 -}}
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{{.PauseImage}}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{{.Snapshotter}}"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        Root = "{{.Dir}}/runc"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{{.Dir}}/cni/bin"
    conf_dir = "{{.Dir}}/cni/net.d"
{{- else -}}
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "{{.Snapshotter}}"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{{.PauseImage}}"
[plugins."io.containerd.cri.v1.runtime"]
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        SystemdCgroup = false
        Root = "{{.Dir}}/runc"
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{{.Dir}}/cni/bin"]
    conf_dir = "{{.Dir}}/cni/net.d"
[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
{{- end}}
`))

func renderConfig(dir, socket string, major int) ([]byte, error) {
	snapshotter, err := snapshotterFor(dir)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = configTemplate.Execute(&out, daemonConfig{
		Dir: filepath.Clean(dir), Socket: socket, PauseImage: PauseImage, Snapshotter: snapshotter, Major: major,
	})
	return out.Bytes(), err
}

// snapshotterFor returns overlayfs, unless dir is itself on an overlay (inside a container), which cannot be the upper layer of another
// one.
func snapshotterFor(dir string) (string, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return "", fmt.Errorf("find the file system of %s: %w", dir, err)
	}
	if fs.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return "native", nil
	}
	return "overlayfs", nil
}
