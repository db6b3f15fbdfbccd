// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// errOutside means that the program is not the container's: it is the runtime's own, in the moment before it becomes the container's.
var errOutside = errors.New("the program is not a file of the container")

// becoming is how long after its start a process may run the runtime's own program. A later one only has its name: a container can give its
// own program the name of a runtime's, or hide it by a mount.
const becoming = 10 * time.Second

// errHiddenProgram means that the name of the program leads to another file or to none, for example because something was mounted over it.
// Its file could be read, but nothing proves that it is the container's.
var errHiddenProgram = errors.New("the name of the program leads to another file or to none")

// runtimePrograms are runtimes' programs that run from memory, so that a container cannot write to them.
var runtimePrograms = []string{"/memfd:runc_cloned:", "/memfd:crun"}

// executable finds the program's file, and its name in the container. young says that the process started no longer ago than becoming.
func (p *process) executable(roots []rootDir, young bool) (exe *located, name string, deleted bool, err error) {
	raw, err := p.linked("exe")
	if err != nil {
		return nil, "", false, err
	}
	file, err := p.locateLink("exe")
	if err != nil {
		return nil, "", false, err
	}
	defer func() {
		if err != nil {
			file.close()
		}
	}()
	found, name, rootErr := locateInRoots(roots, raw, mapping{device: file.device(), inode: file.stat.Ino})
	if rootErr == nil {
		found.close()
		return &file, name, false, nil
	}
	trimmed, marked := strings.CutSuffix(raw, deletedMark)
	switch {
	case young && slices.ContainsFunc(runtimePrograms, func(prefix string) bool { return strings.HasPrefix(raw, prefix) }):
		return nil, "", false, errOutside
	case marked:
		return &file, inside(roots, trimmed), true, nil
	case fileReason(rootErr) == evidence.ReasonDeletedFile && young:
		return nil, "", false, errOutside
	case fileReason(rootErr) == evidence.ReasonDeletedFile:
		return nil, "", false, errHiddenProgram
	}
	return &file, inside(roots, raw), false, nil // the name cannot be checked, so the kernel's is used
}
