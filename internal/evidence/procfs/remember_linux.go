// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/evidence/buildid"
	"github.com/zastava-otel/zastava/internal/limit"
)

// maxRememberedLine bounds one file in the stored form: a Go binary with a thousand modules takes 100 KiB.
const maxRememberedLine = 1 << 20

// maxRememberedModules is above what package buildid keeps of one file.
const maxRememberedModules = 4_096

// rememberedLimits bound the JSON of one file.
var rememberedLimits = limit.JSON{Nesting: 8, Items: 32 << 10, Digits: 32}

// remembered is one file in the stored form: what it holds, or under which key what it holds is known.
type remembered struct {
	Key     storedKey              `json:"key"`
	Alias   *storedKey             `json:"alias,omitempty"`
	SHA256  evidence.Datum[string] `json:"sha256"`
	Content *buildid.Metadata      `json:"content,omitempty"`
}

// storedKey is a contentKey. The handle is bytes of the kernel.
type storedKey struct {
	Device, Inode uint64
	Handle        []byte `json:",omitempty"`
	MTime, CTime  int64
	Size          int64
}

func (k contentKey) stored() storedKey {
	return storedKey{Device: k.device, Inode: k.inode, Handle: []byte(k.handle), MTime: k.mtime, CTime: k.ctime, Size: k.size}
}

func (k storedKey) key() contentKey {
	return contentKey{device: k.Device, inode: k.Inode, handle: string(k.Handle), mtime: k.MTime, ctime: k.CTime, size: k.Size}
}

// SaveFiles writes what is known of files, for LoadFiles of another Sampler: one JSON object a line, what was used last first, up to
// maximum bytes. What has no room is left out.
func (s *Sampler) SaveFiles(w io.Writer, maximum int64) error {
	buffered := bufio.NewWriter(w)
	written := int64(0)
	for _, one := range s.contents.remember() {
		line, err := json.Marshal(one)
		if err != nil {
			return fmt.Errorf("save what is known of files: %w", err)
		}
		if len(line) >= maxRememberedLine {
			continue
		}
		if written += int64(len(line)) + 1; written > maximum {
			break
		}
		if _, err := buffered.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("save what is known of files: %w", err)
		}
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("save what is known of files: %w", err)
	}
	return nil
}

// LoadFiles reads what SaveFiles wrote. It stops with an error at the first line that is not of that form, or when there is more than a
// Sampler remembers; what came before is known. The text is another process's: memory is bounded, whatever it has.
func (s *Sampler) LoadFiles(r io.Reader) error {
	all, err := s.contents.readRemembered(r)
	s.contents.recall(all)
	if err != nil {
		return fmt.Errorf("load what is known of files: %w", err)
	}
	return nil
}

func (c *contents) readRemembered(r io.Reader) (all []remembered, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxRememberedLine)
	cost := 0
	for lines.Scan() {
		var one remembered
		if err := limit.CheckJSON(lines.Bytes(), rememberedLimits); err != nil {
			return all, err
		}
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return all, err
		}
		if !one.valid() {
			return all, errors.New("a file has no hash")
		}
		if cost += one.cost(); cost > 2*maxCacheBytes || len(all) >= c.entries {
			return all, &limit.Error{Kind: limit.Items, Max: int64(len(all))}
		}
		all = append(all, one)
	}
	return all, lines.Err()
}

// valid reports whether a file is one that may be remembered.
func (r *remembered) valid() bool {
	switch {
	case r.Alias != nil:
		return r.Content == nil
	case r.Content == nil || len(r.Content.Go.Value.Modules) > maxRememberedModules:
		return false
	case r.SHA256.Status == evidence.StatusUnknown:
		return r.SHA256.Reason == evidence.ReasonTooLarge
	}
	sum, err := hex.DecodeString(r.SHA256.Value)
	return err == nil && len(sum) == sha256.Size && r.SHA256.Status == evidence.StatusPresent
}

func (r *remembered) cost() int {
	if r.Content == nil {
		return 256
	}
	return (&content{Metadata: *r.Content}).cost()
}

// remember returns what is known, newest first, aliases last.
func (c *contents) remember() []remembered {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys := c.known.lru.Keys() // oldest first
	all := make([]remembered, 0, len(keys)+c.aliases.Len())
	for _, key := range slices.Backward(keys) {
		if found, ok := c.known.lru.Peek(key); ok {
			all = append(all, remembered{Key: key.stored(), SHA256: found.sha256, Content: &found.Metadata})
		}
	}
	keys = c.aliases.Keys()
	for _, key := range slices.Backward(keys) {
		if shared, ok := c.aliases.Peek(key); ok {
			alias := shared.stored()
			all = append(all, remembered{Key: key.stored(), Alias: &alias})
		}
	}
	return all
}

// recall adds what was remembered, in the order that makes the newest the newest again.
func (c *contents) recall(all []remembered) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(all) - 1; i >= 0; i-- {
		switch one := &all[i]; {
		case one.Alias != nil:
			c.aliases.Add(one.Key.key(), one.Alias.key())
		case one.Content != nil:
			c.known.put(one.Key.key(), &content{sha256: one.SHA256, Metadata: *one.Content})
		}
	}
}

// UnknownProcess is the main process of a container that was not sampled, with everything UNKNOWN for one reason.
func UnknownProcess(pid int, reason evidence.Reason) evidence.Process {
	return unknownProcess(pid, true, reason)
}
