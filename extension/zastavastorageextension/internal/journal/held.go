// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package journal

import "crypto/sha256"

// held is what was deleted by itself in a queue: hidden, and on disk until its value was set again under another key, or for
// good when the journal is closed. So no moment is without it, be the disk full at any.
type held struct {
	hidden   map[string][sha256.Size]byte // keys, and the sums of their values
	waiting  map[[sha256.Size]byte][]string
	replaced map[string]string // new key → the hidden key whose value it has; to be deleted with the next transaction
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
		if _, ok := j.pending[c.Key]; ok { // it is in memory only
			j.pending[c.Key] = nil
			continue
		}
		sum := sha256.Sum256(value)
		h.hidden[c.Key] = sum
		h.waiting[sum] = append(h.waiting[sum], c.Key)
	}
}

// replace notes which changes set what is held. It tells whether all do that set anything but lazy keys.
func (j *Journal) replace(changes []Change) (all bool) {
	if len(j.held.hidden) == 0 {
		return false
	}
	for _, c := range changes {
		delete(j.held.hidden, c.Key) // it is somebody else's now, or deleted for good
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

// restore takes back what replace noted, because the change was refused.
func (j *Journal) restore(changes []Change) {
	for _, c := range changes {
		if key, ok := j.held.replaced[c.Key]; ok {
			delete(j.held.replaced, c.Key)
			sum := j.held.hidden[key]
			j.held.waiting[sum] = append(j.held.waiting[sum], key)
		}
	}
}
