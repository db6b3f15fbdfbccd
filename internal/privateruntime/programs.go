// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Programs are the programs of a runtime on this machine.
type Programs struct {
	Path  string            // a search path for the runtime, on which it finds the same programs
	Files map[string]string // the file of each program, by its name
}

// FindPrograms finds programs in binDirs, then on PATH and in the usual directories. Its error wraps ErrUnavailable and names every
// program that is missing, and root when this process does not run as root. remedy says how to install them.
func FindPrograms(binDirs []string, remedy string, names ...string) (Programs, error) {
	var missing []string
	if os.Geteuid() != 0 {
		missing = append(missing, "root")
	}
	// Debian keeps runc in /usr/sbin, which is not on everyone's PATH.
	dirs := slices.Concat(binDirs, filepath.SplitList(os.Getenv("PATH")), []string{"/usr/local/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"})
	found := Programs{Path: strings.Join(dirs, string(os.PathListSeparator)), Files: map[string]string{}}
	for _, name := range names {
		file, ok := findProgram(name, dirs)
		if !ok {
			missing = append(missing, name)
		}
		found.Files[name] = file
	}
	if len(missing) > 0 {
		return Programs{}, fmt.Errorf("%w: missing %s (%s)", ErrUnavailable, strings.Join(missing, ", "), remedy)
	}
	return found, nil
}

func findProgram(name string, dirs []string) (string, bool) {
	for _, dir := range dirs {
		file := filepath.Join(dir, name)
		if s, err := os.Stat(file); err == nil && s.Mode().IsRegular() && s.Mode()&0o111 != 0 {
			return file, true
		}
	}
	return "", false
}
