// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"slices"

	"github.com/zastava-otel/zastava/internal/evidence"
)

type fileKey struct {
	device device
	inode  uint64
	path   string
}

// fileDraft is a file of the sample to be.
type fileDraft struct {
	evidence.File
	started bool // its content was gone after; by the thread alone
}

// draft gives the draft of a file, making it when it is new; nil = there are too many, or the look was given up.
func (l *look) draft(key fileKey, kind evidence.Kind, deleted bool, use evidence.Use) *fileDraft {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sealed {
		return nil
	}
	d, known := l.index[key]
	switch {
	case known && d == nil:
		return nil // beyond the limit, and counted
	case known:
		if kind == evidence.KindExecutable {
			d.Kind = kind
		}
	case len(l.files) >= l.sampler.config.Limits.Files:
		if len(l.index) < l.sampler.config.Limits.Mappings {
			l.index[key] = nil
		}
		l.dropped++
		return nil
	default:
		d = &fileDraft{File: evidence.File{Path: key.path, Kind: kind, Device: key.device.String(), Inode: key.inode, Deleted: deleted}}
		l.index[key] = d
		l.files = append(l.files, d)
	}
	d.use(use)
	return d
}

// rename gives the draft of a file that has another name than was remembered; nil = that one has been gone after.
func (l *look) rename(d *fileDraft, key fileKey) *fileDraft {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sealed {
		return nil
	}
	if known := l.index[key]; known != nil && known != d { // another process's, or the executable
		for _, use := range d.Uses {
			known.use(use)
		}
		l.files = slices.DeleteFunc(l.files, func(f *fileDraft) bool { return f == d })
		for k, f := range l.index {
			if f == d {
				l.index[k] = known
			}
		}
		if known.started {
			return nil
		}
		known.started = true
		return known
	}
	l.index[key] = d
	d.Path = key.path
	if d.Kind != evidence.KindExecutable {
		d.Kind = mappedKind(key.path)
	}
	return d
}

// use adds a process's use of a file.
func (d *fileDraft) use(use evidence.Use) {
	if n := len(d.Uses); n == 0 || d.Uses[n-1].PID != use.PID {
		d.Uses = append(d.Uses, use)
	} else if d.Uses[n-1].LoadBase == 0 {
		d.Uses[n-1].LoadBase = use.LoadBase
	}
}

// settle fills in what a file holds.
func (l *look) settle(d *fileDraft, size evidence.Datum[int64], c content) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sealed {
		return
	}
	d.Size, d.SHA256, d.BuildID, d.GoBuildID, d.Go = size, c.sha256, c.BuildID, c.GoBuildID, c.Go
}
