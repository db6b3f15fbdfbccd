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
	"slices"
	"strconv"
	"strings"
)

// ErrUnavailable is wrapped by every error that says what this machine lacks
// to run a private containerd.
var ErrUnavailable = errors.New("no private containerd can run here")

// maxSocketPath keeps the socket and its ".ttrpc" sibling under the 108 bytes
// that sockaddr_un has (unix(7)).
const maxSocketPath = 100

// Options say which containerd to run, and where.
type Options struct {
	// Dir takes everything the daemon writes. It is made when missing and must
	// be absolute, on a local file system, and short enough for a socket path.
	// Wipe removes it.
	Dir string
	// BinDirs are searched for containerd, ctr, the shim and runc before PATH.
	BinDirs []string
	// CacheDir keeps the image archive between runs. Default: zastava-privateruntime
	// in the user's cache directory.
	CacheDir string
	// LogLevel of containerd; default "info". The log is Dir/containerd.log.
	LogLevel string
}

// binaries are the programs found, and the PATH on which containerd finds them.
type binaries struct {
	containerd, ctr string
	path            string
	version         string // such as 1.6.20
	major           int
}

// Check says what is missing for Start on this machine, or nil. It starts no
// daemon and writes nothing. The error wraps ErrUnavailable.
func Check(ctx context.Context, o Options) error {
	_, err := o.find(ctx)
	return err
}

func (o Options) find(ctx context.Context) (binaries, error) {
	var missing []string
	if os.Geteuid() != 0 {
		missing = append(missing, "root")
	}
	// Debian keeps runc in /usr/sbin, which is not on everyone's PATH.
	dirs := slices.Concat(o.BinDirs, filepath.SplitList(os.Getenv("PATH")), []string{"/usr/local/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"})
	found := map[string]string{}
	for _, name := range []string{"containerd", "ctr", "containerd-shim-runc-v2", "runc"} {
		path, ok := look(name, dirs)
		if !ok {
			missing = append(missing, name)
		}
		found[name] = path
	}
	if len(missing) > 0 {
		return binaries{}, fmt.Errorf("%w: missing %s (on Debian: apt-get install containerd runc)", ErrUnavailable, strings.Join(missing, ", "))
	}
	b := binaries{containerd: found["containerd"], ctr: found["ctr"], path: strings.Join(dirs, string(os.PathListSeparator))}
	said, err := exec.CommandContext(ctx, b.containerd, "--version").Output()
	if err != nil {
		return binaries{}, fmt.Errorf("ask %s for its version: %w", b.containerd, err)
	}
	if b.version, b.major, err = parseVersion(string(said)); err != nil {
		return binaries{}, fmt.Errorf("%w: %s: %w", ErrUnavailable, b.containerd, err)
	}
	return b, nil
}

func look(name string, dirs []string) (string, bool) {
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if s, err := os.Stat(path); err == nil && s.Mode().IsRegular() && s.Mode()&0o111 != 0 {
			return path, true
		}
	}
	return "", false
}

var versionPattern = regexp.MustCompile(`\bv?((\d+)\.(\d+)\.\d+)`)

// parseVersion reads the answer of `containerd --version`, such as
// "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+b1".
func parseVersion(said string) (version string, major int, err error) {
	m := versionPattern.FindStringSubmatch(said)
	if m == nil {
		return "", 0, fmt.Errorf("no version in %q", strings.TrimSpace(said))
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
