// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package journal

import "strconv"

// place is the location of a value.
type place struct {
	seg   *segment
	frame uint32 // offset of its frame; a file never exceeds 32 bits
	size  uint32 // of the frame
	value uint32 // offset in the frame
	len   uint32
}

func number(key string) (uint64, bool) {
	n, err := strconv.ParseUint(key, 10, 64)
	return n, err == nil && (key[0] != '0' || len(key) == 1) && key[0] != '+'
}

// keys returns the number of keys on disk.
func (j *Journal) keys() int { return len(j.named) + len(j.numbered) }

func (j *Journal) find(key string) (place, bool) {
	if n, ok := number(key); ok {
		p, ok := j.numbered[n]
		return p, ok
	}
	p, ok := j.named[key]
	return p, ok
}

func (j *Journal) put(key string, p place) {
	j.forget(key)
	p.seg.live++
	j.live += int64(p.len) + overhead
	if n, ok := number(key); ok {
		j.numbered[n] = p
	} else {
		j.named[key] = p
	}
}

func (j *Journal) forget(key string) {
	p, ok := j.find(key)
	if !ok {
		return
	}
	p.seg.live--
	j.live -= int64(p.len) + overhead
	if n, ok := number(key); ok {
		delete(j.numbered, n)
	} else {
		delete(j.named, key)
	}
}
