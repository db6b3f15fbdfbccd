// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/evidence"
)

func TestMemorableContents(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	ago := func(d time.Duration) int64 { return now.Add(-d).UnixNano() }
	hashed, large := content{sha256: evidence.Present("ab")}, content{sha256: evidence.Unknown[string](evidence.ReasonTooLarge)}
	partly, gone := content{sha256: evidence.Unknown[string](evidence.ReasonBudget)}, content{sha256: evidence.Unknown[string](evidence.ReasonDeletedFile)}
	old := contentKey{mtime: ago(time.Hour), ctime: ago(time.Hour)}
	for name, test := range map[string]struct {
		fileSystem int64
		key        contentKey
		content    content
		want       bool
	}{
		"a file":                       {unix.EXT4_SUPER_MAGIC, old, hashed, true},
		"of an overlay":                {unix.OVERLAYFS_SUPER_MAGIC, old, hashed, true},
		"too large, for as long":       {unix.EXT4_SUPER_MAGIC, old, large, true},
		"not read for want of budget":  {unix.EXT4_SUPER_MAGIC, old, partly, false},
		"changed meanwhile":            {unix.EXT4_SUPER_MAGIC, old, gone, false},
		"written just now":             {unix.EXT4_SUPER_MAGIC, contentKey{mtime: ago(time.Second), ctime: old.ctime}, hashed, false},
		"changed just now":             {unix.EXT4_SUPER_MAGIC, contentKey{mtime: old.mtime, ctime: ago(time.Second)}, hashed, false},
		"of a time to come":            {unix.EXT4_SUPER_MAGIC, contentKey{mtime: ago(-time.Hour), ctime: old.ctime}, hashed, false},
		"of a server that makes it up": {unix.FUSE_SUPER_MAGIC, old, hashed, false},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, memorable(test.fileSystem, test.key, &test.content, now))
		})
	}
}

// TestImageUntil: only what has not changed since the container was made is the same file in others.
func TestImageUntil(t *testing.T) {
	begin := time.Unix(1_000_000, 0)
	for name, test := range map[string]struct{ made, want time.Time }{
		"the first run":                    {begin.Add(-time.Second), begin.Add(-time.Second)},
		"a later run of the same":          {begin.Add(-time.Hour), begin.Add(-time.Hour)},
		"unknown creation":                 {time.Time{}, begin},
		"made after it began, clocks vary": {begin.Add(time.Hour), begin},
	} {
		t.Run(name, func(t *testing.T) {
			l := newInspection(t.Context(), samplerFor(t, testConfig()), evidence.Target{CreatedAt: test.made})
			l.mainAt = begin
			assert.Equal(t, test.want, l.imageUntil())
		})
	}
}
