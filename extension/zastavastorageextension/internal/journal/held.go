// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"crypto/sha256"
	"slices"
)

// held is the values that a queue deleted in a transaction of their own. They are hidden, but stay on disk until the same value is set
// under another key, or until the journal is closed. So the value is on disk at any moment, even if the disk becomes full.
type held struct {
	hidden   map[string][sha256.Size]byte   // checksums of the values by key
	waiting  map[[sha256.Size]byte][]string // hidden keys by checksum
	replaced map[string]string              // new key → hidden key with the same value, which the next transaction deletes
	lazy     map[string][]byte              // values of lazy keys, as on disk; a few small ones.
}

// rememberLazy keeps the values of lazy keys that a transaction wrote. Without its state, a queue finds none of its items.
func (j *Journal) rememberLazy(changes []Change) {
	if j.options.Lazy == nil {
		return
	}
	for _, c := range changes {
		if !j.options.Lazy(c.Key) {
			continue
		}
		if j.held.lazy == nil {
			j.held.lazy = map[string][]byte{}
		}
		if delete(j.held.lazy, c.Key); c.Value != nil {
			j.held.lazy[c.Key] = slices.Clone(c.Value)
		}
	}
}

// lazyValues returns the changes that set those of keys again that are lazy.
func (j *Journal) lazyValues(keys []string) (changes []Change) {
	for _, key := range keys {
		if value, ok := j.held.lazy[key]; ok {
			changes = append(changes, Change{Key: key, Value: value})
		}
	}
	return changes
}

func (j *Journal) hold(changes []Change) {
	h := &j.held
	if h.hidden == nil {
		h.hidden, h.waiting, h.replaced = map[string][sha256.Size]byte{}, map[[sha256.Size]byte][]string{}, map[string]string{}
	}
	for _, c := range changes {
		value := j.get(c.Key)
		if value == nil {
			continue
		}
		if _, ok := j.pending[c.Key]; ok { // in memory only
			j.pending[c.Key] = nil
			continue
		}
		sum := sha256.Sum256(value)
		h.hidden[c.Key] = sum
		h.waiting[sum] = append(h.waiting[sum], c.Key)
	}
}

// replace stores which changes set a held value again. It reports whether that is so for all changes that set a key that is not lazy.
func (j *Journal) replace(changes []Change) (all bool) {
	if len(j.held.hidden) == 0 {
		return false
	}
	for _, c := range changes {
		delete(j.held.hidden, c.Key) // the key has a new value, or is deleted again
	}
	all = true
	for _, c := range changes {
		if c.Value == nil || j.options.Lazy(c.Key) {
			continue
		}
		sum := sha256.Sum256(c.Value)
		keys := j.held.waiting[sum]
		if len(keys) == 0 {
			all = false
			continue
		}
		if j.held.waiting[sum] = keys[1:]; len(keys) == 1 {
			delete(j.held.waiting, sum)
		}
		if _, ok := j.held.hidden[keys[0]]; ok {
			j.held.replaced[c.Key] = keys[0]
		}
	}
	return all
}

// restore reverts replace after the changes were refused.
func (j *Journal) restore(changes []Change) {
	for _, c := range changes {
		if key, ok := j.held.replaced[c.Key]; ok {
			delete(j.held.replaced, c.Key)
			sum := j.held.hidden[key]
			j.held.waiting[sum] = append(j.held.waiting[sum], key)
		}
	}
}
