// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package engine

import (
	"fmt"
	"os"
	"path/filepath"
)

// Release is a dockerd that this repository's tests run on.
type Release struct {
	Name    string   // "system", or the major version of a built one
	BinDirs []string // where its programs are; none: the system's
}

// System is the dockerd that is installed: Debian 12 has 20.10.
func System() Release { return Release{Name: "system"} }

// Built29 is the release that Debian does not have: versions/ pins it, and `make runtimes` builds it, with the containerd that it
// needs.
func Built29() Release {
	return Release{Name: "29", BinDirs: []string{
		filepath.Join("build", "runtimes", "docker29"), filepath.Join("build", "runtimes", "containerd2"),
	}}
}

// In gives the release with its directories below the repository at root, and says what to do when it is not there.
func (r Release) In(root string) (Release, error) {
	in := Release{Name: r.Name}
	for _, dir := range r.BinDirs {
		dir = filepath.Join(root, dir)
		if entries, err := os.ReadDir(dir); err != nil || len(entries) == 0 {
			return r, fmt.Errorf("%w: dockerd %s is not built: run `make runtimes`", ErrUnavailable, r.Name)
		}
		in.BinDirs = append(in.BinDirs, dir)
	}
	return in, nil
}
