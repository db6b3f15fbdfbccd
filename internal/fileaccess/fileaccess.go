// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package fileaccess checks which other users of the machine may read a secret or write to a directory of ours, and opens files of ours
// only if they are regular files.
//
// It promises: a finding names the configuration option, the path, its mode or owner, and a command that corrects it. A path that
// cannot be examined is no finding: whoever opens it reports why. Symbolic links are followed, because Kubernetes mounts secrets behind
// them. On Windows, where access lists and not modes decide, nothing is found.
//
// It refuses to change a mode or an owner, and it does not examine parent directories.
package fileaccess

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/internal/limit"
)

const (
	rightsOfOthers fs.FileMode = 0o077 // of group and others; where a file has an access list, the bits of the group are its mask
	writeOfOthers  fs.FileMode = 0o022
)

// CheckSecret returns an error if others than the owner have any right to the file at path, or if its owner is neither root nor the
// user of this process. option is the name of the configuration option that contains path.
func CheckSecret(option, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return nil //nolint:nilerr // whoever reads the file reports this
	}
	return checkSecret(option, path, info.Mode().Perm(), foreignOwner(info))
}

// CheckDirectory returns an error if others than the owner may write to the directory at path, or if its owner is neither root nor the
// user of this process: who may write there can replace what we read back. The sticky bit makes no difference, because others may still
// create files with names that we use.
func CheckDirectory(option, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return nil //nolint:nilerr // whoever opens the directory reports this
	}
	return checkDirectory(option, path, info.Mode().Perm(), foreignOwner(info))
}

// Listable returns the mode of the directory at path, and whether others than the owner may list it or use the names in it.
func Listable(path string) (mode fs.FileMode, listable bool) {
	info, err := os.Stat(path)
	if err != nil || !hasModes {
		return 0, false
	}
	return info.Mode().Perm(), info.Mode().Perm()&rightsOfOthers != 0
}

// Read returns the content of a file of at most most bytes. It refuses what is no regular file, whose reading might not end. Its errors
// name the option and quote nothing of the content.
func Read(option, path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", option, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: %s is not a regular file: name a file", option, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", option, err)
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(limit.Reader(f, most))
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", option, path, err)
	}
	return raw, nil
}

// Warner logs the findings on secrets, each file once. Several goroutines may use it. The zero value with a Logger is ready.
type Warner struct {
	Logger *zap.Logger

	mu     sync.Mutex
	warned map[string]struct{} // paths; as many as are configured
}

// Secret checks the secret at path. An empty path is ignored.
func (w *Warner) Secret(option, path string) {
	if path == "" {
		return
	}
	err := CheckSecret(option, path)
	if err == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.warned[path]; known {
		return
	}
	if w.warned == nil {
		w.warned = map[string]struct{}{}
	}
	w.warned[path] = struct{}{}
	w.Logger.Warn("Other users have rights to a secret file; it is used all the same", zap.Error(err))
}

func checkSecret(option, path string, mode fs.FileMode, owner string) error {
	switch {
	case !hasModes:
		return nil
	case mode&rightsOfOthers != 0:
		return fmt.Errorf("%s %s has mode %04o, which gives other users rights to a secret: run chmod go-rwx %s, or set defaultMode: 0400 in a Kubernetes volume",
			option, path, mode, path)
	case owner != "":
		return fmt.Errorf("%s %s belongs to %s, who can read and replace this secret: run chown root %s", option, path, owner, path)
	}
	return nil
}

func checkDirectory(option, path string, mode fs.FileMode, owner string) error {
	switch {
	case !hasModes:
		return nil
	case mode&writeOfOthers != 0:
		return fmt.Errorf("%s %s has mode %04o, so other users can replace what is stored there: run chmod go-w %s, "+
			"or name a directory in it that does not exist yet, which is created with mode 0700", option, path, mode, path)
	case owner != "":
		return fmt.Errorf("%s %s belongs to %s, who can replace what is stored there: run chown root %s, "+
			"or name a directory that does not exist yet, which is created with mode 0700", option, path, owner, path)
	}
	return nil
}
