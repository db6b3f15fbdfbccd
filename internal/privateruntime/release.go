// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime

import (
	"fmt"
	"os"
	"path/filepath"
)

// Release is a containerd that this repository's tests run on.
type Release struct {
	Name    string   // "system", or the major or minor version of a built one
	BinDirs []string // for ForTest and Options; none: the system's
}

// System is the containerd that is installed: Debian 12 has 1.6.
func System() Release { return Release{Name: "system"} }

// Built17 and Built2 are the releases that Debian has too old or not at all:
// versions/ pins them, and `make runtimes` builds them.
func Built17() Release { return built("1.7", "containerd17") }

// Built2 is the newest major version; see Built17.
func Built2() Release { return built("2", "containerd2") }

func built(name, dir string) Release {
	return Release{Name: name, BinDirs: []string{filepath.Join("build", "runtimes", dir)}}
}

// In gives the release with its directories below the repository at root, and
// says what to do when it is not there.
func (r Release) In(root string) (Release, error) {
	in := Release{Name: r.Name}
	for _, dir := range r.BinDirs {
		dir = filepath.Join(root, dir)
		if _, err := os.Stat(filepath.Join(dir, "containerd")); err != nil {
			return r, fmt.Errorf("%w: containerd %s is not built: run `make runtimes`", ErrUnavailable, r.Name)
		}
		in.BinDirs = append(in.BinDirs, dir)
	}
	return in, nil
}
