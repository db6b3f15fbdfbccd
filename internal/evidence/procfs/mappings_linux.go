// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"bytes"
	"errors"
	"hash/maphash"
	"io"
	"math"

	"golang.org/x/sys/unix"
)

// maxMapsText is how much of a maps file is held at once. A longer one is read in parts, and not remembered.
const maxMapsText = 256 << 10

// mappings reads what the process has mapped: the remembered mappings if the kernel reports the same spans, else the text of maps. news
// reports that they are to be remembered, cut that there are more than are read.
func (in *inspection) mappings(p *process) (news, cut bool, err error) {
	maps, err := p.open("maps")
	if err != nil {
		return false, false, err
	}
	defer func() { _ = unix.Close(maps) }()
	if p.known.mapped && !in.sampler.kernel.noSpans.Load() {
		sum, err := spansOf(maps)
		if err == nil && sum == p.known.spans {
			p.mappings, p.unnamed = p.known.mappings, true
			return false, false, nil
		}
		if errors.Is(err, unix.ENOTTY) {
			in.sampler.kernel.noSpans.Store(true)
		}
	}
	return in.readMappings(p, maps)
}

// readMappings reads the text of maps, and parses it unless it is the remembered one.
func (in *inspection) readMappings(p *process, maps int) (news, cut bool, err error) {
	text, err := p.whole(maps, maxMapsText)
	if err != nil && !errors.Is(err, errEmpty) {
		return false, false, err
	}
	whole := len(text) < maxMapsText
	sum := maphash.Bytes(seed, text)
	if whole && p.known.mapped && p.known.text == sum {
		p.mappings = p.known.mappings
		return false, false, nil
	}
	var from io.Reader = bytes.NewReader(text)
	if !whole {
		from = io.MultiReader(from, io.NewSectionReader(descriptor(maps), maxMapsText, math.MaxInt64-maxMapsText))
	}
	p.maps.Reset(from)
	found, err := readMaps(p.maps, in.sampler.config.Limits.Mappings)
	if cut = errors.Is(err, errMapsTruncated); err != nil && !cut {
		return false, false, err
	}
	p.mappings = found.code
	if p.known.mapped = whole && !cut; p.known.mapped {
		p.known.spans, p.known.text, p.known.mappings = found.spans, sum, found.code
	}
	return p.known.mapped, cut, nil
}

// renamed reads a mapping again whose file is not at its remembered name. ok is false if the name has not changed.
func (in *inspection) renamed(p *process, m mapping) (now mapping, ok bool) {
	if p.unnamed {
		p.unnamed = false
		in.do(func() {
			maps, err := p.open("maps")
			if err != nil {
				return
			}
			defer func() { _ = unix.Close(maps) }()
			if news, _, err := in.readMappings(p, maps); err == nil && news && p.unchanged(in.member) {
				in.sampler.recall.put(p.key(), p.known)
			}
		})
	}
	for _, now := range p.mappings {
		if now.start == m.start && now.device == m.device && now.inode == m.inode {
			return now, now.raw != m.raw
		}
	}
	return m, false
}
