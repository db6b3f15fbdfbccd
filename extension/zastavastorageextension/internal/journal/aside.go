// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Fault is a kind of fault that is reported when it happens.
type Fault string

// The kinds of fault.
const (
	FaultForeign Fault = "foreign" // a file that belongs to another journal was renamed
	FaultOdd     Fault = "odd"     // what is no regular file was renamed
	FaultRemoved Fault = "removed" // files were removed, replaced or truncated while in use; all values are written again
)

const (
	asideSuffix = ".damaged"
	maxAside    = 4   // files with asideSuffix that are kept; they contain no valid transaction
	maxNames    = 100 // names that are tried for a renamed file
)

func (j *Journal) report(fault Fault, err error) {
	if j.options.Report != nil {
		j.options.Report(fault, err)
	}
}

// rename gives a file a name that ends in suffix and overwrites no other file. It returns the new name.
func rename(name, suffix string) (string, error) {
	for n := 1; n <= maxNames; n++ {
		to := name + suffix
		if n > 1 {
			to = name + "-" + strconv.Itoa(n) + suffix
		}
		if _, err := os.Lstat(to); err == nil {
			continue
		}
		return to, os.Rename(name, to)
	}
	return "", fmt.Errorf("rename %s: %d files of that name with %s exist: remove them", name, maxNames, suffix)
}

// setAside renames what has a name of ours and is not ours, and reports it. It returns false if it cannot be renamed.
func (j *Journal) setAside(name string, fault Fault, cause error) bool {
	to, err := rename(name, "."+string(fault))
	if err != nil {
		j.report(fault, fmt.Errorf("%s is not used: %w; it could not be renamed: %w", name, cause, err))
		return false
	}
	j.report(fault, fmt.Errorf("%s is renamed to %s: %w", name, to, cause))
	return true
}

// setDamagedAside renames a file without a valid transaction. If that fails, it is not used either.
func (j *Journal) setDamagedAside(name string) {
	_, _ = rename(name, asideSuffix)
	j.damage.Aside++
}

// dropAside removes the oldest damaged files. They are only kept to find out what happened.
func (j *Journal) dropAside() {
	names, err := j.files(asideSuffix)
	if err != nil {
		return
	}
	for len(names) > maxAside {
		_ = os.Remove(names[0])
		names = names[1:]
	}
}

// Remove removes the directory of a journal that is closed and empty. The directory stays if it contains files that were set aside.
func Remove(directory string) error {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return fmt.Errorf("remove a journal: %w", err)
	}
	var faults []error
	for _, e := range entries {
		if _, ok := numberOf(e.Name()); (ok || e.Name() == lockName) && e.Type().IsRegular() {
			faults = append(faults, os.Remove(filepath.Join(directory, e.Name())))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("remove a journal: %w", err)
	}
	_ = os.Remove(directory)
	return nil
}
