// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/zastava-otel/zastava/internal/fileaccess"
	"github.com/zastava-otel/zastava/internal/quarantine"
)

// span is a range of bytes of a file.
type span struct{ from, to int64 }

// file sends the content of one file and keeps the rest in it.
func (r *run) file(name string) error {
	original := strings.TrimSuffix(name, claimed) // an interrupted replay left its claim
	claim := original + claimed
	if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("replay %s, of type %s: %w", name, info.Mode().Type(), fileaccess.ErrNotRegular)
	}
	if name != claim {
		if _, err := os.Lstat(claim); err == nil { // renaming would overwrite it
			return fmt.Errorf("replay %s: %s exists too, from another replay that was interrupted or is running: run again, or move one of them away", name, claim)
		}
		switch err := os.Rename(name, claim); {
		case errors.Is(err, fs.ErrNotExist):
			return nil // evicted meanwhile
		case err != nil:
			return fmt.Errorf("claim %s for replay: %w", name, err)
		}
	}
	f, err := fileaccess.OpenRegular(claim, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	defer f.Close()
	r.sum.Files++
	r.rest = r.rest[:0]
	before := r.sum
	torn, err := quarantine.Read(f, func(l quarantine.Line) error {
		r.add(name, l)
		return nil
	})
	r.send()
	if err != nil {
		return fmt.Errorf("%s: %w; it is unchanged, as %s", name, err, claim)
	}
	if torn {
		r.sum.Torn++
	}
	changed := torn || r.sum.Stored != before.Stored || r.sum.Duplicates != before.Duplicates || r.sum.Facts != before.Facts
	if err := r.keepRest(f, claim, original, changed); err != nil {
		return fmt.Errorf("keep the rest of %s: %w; all of it is still in %s", name, err, claim)
	}
	return nil
}

// keepRest replaces original by the rest of claim and removes claim.
func (r *run) keepRest(f *os.File, claim, original string, changed bool) error {
	if len(r.rest) == 0 {
		_ = f.Close() // Windows cannot remove an open file
		return os.Remove(claim)
	}
	if changed {
		if err := copyRest(f, claim+scratch, r.rest); err != nil {
			_ = os.Remove(claim + scratch)
			return err
		}
	}
	_ = f.Close()
	if changed {
		if err := os.Rename(claim+scratch, claim); err != nil {
			return err
		}
	}
	if _, err := os.Lstat(original); err == nil {
		return nil // the name is used again; the next replay finds the claim
	}
	return os.Rename(claim, original)
}

func copyRest(from *os.File, name string, rest []span) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) { // of an interrupted replay, or a link to elsewhere
		return err
	}
	to, err := fileaccess.OpenRegular(filepath.Clean(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	for _, s := range rest {
		if err == nil {
			_, err = io.Copy(to, io.NewSectionReader(from, s.from, s.to-s.from))
		}
	}
	if err == nil {
		err = to.Sync()
	}
	return errors.Join(err, to.Close())
}
