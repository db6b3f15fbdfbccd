// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package realruntime

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/zastava-otel/zastava/internal/privateruntime"
)

// Release is a release of a runtime that this repository's tests run on.
type Release struct {
	Name    string   // "system", or the version of a built one, for messages
	BinDirs []string // with its programs; none for the system's
}

// System is the release that is installed: on Debian 12 containerd 1.6 and dockerd 20.10.
func System() Release { return Release{Name: "system"} }

// Containerd17 is containerd 1.7, which Debian does not have. `make runtimes` builds this and the following releases.
func Containerd17() Release { return built("1.7", "containerd17") }

// Containerd2 is containerd's newest major version.
func Containerd2() Release { return built("2", "containerd2") }

// Docker29 is dockerd 29, with the containerd that it needs.
func Docker29() Release { return built("29", "docker29", "containerd2") }

func built(name string, dirs ...string) Release {
	r := Release{Name: name}
	for _, dir := range dirs {
		r.BinDirs = append(r.BinDirs, filepath.Join("build", "runtimes", dir))
	}
	return r
}

// In returns the release with its directories below the repository at root, as absolute paths. Its error wraps
// privateruntime.ErrUnavailable when the release is not built.
func (r Release) In(root string) (Release, error) {
	in := Release{Name: r.Name}
	for _, dir := range r.BinDirs {
		dir, err := filepath.Abs(filepath.Join(root, dir))
		if err != nil {
			return r, err
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) == 0 {
			return r, fmt.Errorf("%w: release %s is not built in %s: run `make runtimes`", privateruntime.ErrUnavailable, r.Name, dir)
		}
		in.BinDirs = append(in.BinDirs, dir)
	}
	return in, nil
}
