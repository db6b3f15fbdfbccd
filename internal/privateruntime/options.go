// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// ErrUnavailable is wrapped by every error that names what this machine lacks to run a private runtime.
var ErrUnavailable = errors.New("no private runtime can run here")

// maxSocketPath keeps the paths of the socket and of its ".ttrpc" sibling below the 108 bytes of sockaddr_un (unix(7)).
const maxSocketPath = 100

// Options of a private containerd.
type Options struct {
	// Dir has everything that the daemon writes. Start makes it when it is missing, and Wipe removes it. It must be absolute, on a
	// local file system, and short enough for a socket path.
	Dir string
	// BinDirs are searched for containerd, ctr, the shim and runc, before PATH.
	BinDirs []string
	// CacheDir keeps the archive of images between runs. Default: zastava-privateruntime in the user's cache directory.
	CacheDir string
	// LogLevel of containerd. Default: info. The log is Dir/containerd.log.
	LogLevel string
}

// binaries are the programs of an installed containerd, and the PATH on which it finds them.
type binaries struct {
	containerd, ctr string
	path            string
	version         string // such as 1.6.20
	major           int
}

// Check returns nil when this machine has what Start needs, and else an error that names what is missing and wraps ErrUnavailable.
// It starts no daemon and writes nothing.
func Check(ctx context.Context, o Options) error {
	_, err := o.find(ctx)
	return err
}

func (o Options) find(ctx context.Context) (binaries, error) {
	found, err := FindPrograms(o.BinDirs, "on Debian: apt-get install containerd runc", "containerd", "ctr", "containerd-shim-runc-v2", "runc")
	if err != nil {
		return binaries{}, err
	}
	b := binaries{containerd: found.Files["containerd"], ctr: found.Files["ctr"], path: found.Path}
	output, err := exec.CommandContext(ctx, b.containerd, "--version").Output()
	if err != nil {
		return binaries{}, fmt.Errorf("run %s --version: %w", b.containerd, err)
	}
	if b.version, b.major, err = parseVersion(string(output)); err != nil {
		return binaries{}, fmt.Errorf("%w: %s: %w", ErrUnavailable, b.containerd, err)
	}
	return b, nil
}

var versionPattern = regexp.MustCompile(`\bv?((\d+)\.(\d+)\.\d+)`)

// parseVersion reads the output of `containerd --version`, such as
// "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+b1".
func parseVersion(output string) (version string, major int, err error) {
	m := versionPattern.FindStringSubmatch(output)
	if m == nil {
		return "", 0, fmt.Errorf("no version in %q", strings.TrimSpace(output))
	}
	major, err = strconv.Atoi(m[2])
	if err != nil {
		return "", 0, fmt.Errorf("version %q: %w", m[1], err)
	}
	minor, err := strconv.Atoi(m[3])
	if err != nil {
		return "", 0, fmt.Errorf("version %q: %w", m[1], err)
	}
	if major < 1 || major == 1 && minor < 6 {
		return "", 0, fmt.Errorf("version %s is too old: 1.6 is the first one with CRI v1", m[1])
	}
	return m[1], major, nil
}

func (o Options) cacheDir() (string, error) {
	if o.CacheDir != "" {
		return o.CacheDir, nil
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a cache directory: %w (set Options.CacheDir)", err)
	}
	return filepath.Join(base, "zastava-privateruntime"), nil
}
