// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package buildid

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/limit"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

// elfWith makes a 64-bit little-endian ELF file with one segment of notes.
func elfWith(notes []byte, change func(header []byte)) []byte {
	h := make([]byte, 64+56)
	copy(h, "\x7fELF\x02\x01\x01")
	order := binary.LittleEndian
	order.PutUint64(h[32:], 64) // e_phoff
	order.PutUint16(h[54:], 56) // e_phentsize
	order.PutUint16(h[56:], 1)  // e_phnum
	order.PutUint32(h[64:], 4)  // PT_NOTE
	order.PutUint64(h[64+8:], uint64(len(h)))
	order.PutUint64(h[64+32:], uint64(len(notes)))
	order.PutUint64(h[64+48:], 4)
	if change != nil {
		change(h)
	}
	return slices.Concat(h, notes)
}

func note(name string, kind uint32, desc []byte) []byte {
	n := binary.LittleEndian.AppendUint32(nil, uint32(len(name)))
	n = binary.LittleEndian.AppendUint32(n, uint32(len(desc)))
	n = binary.LittleEndian.AppendUint32(n, kind)
	n = append(n, name...)
	n = append(n, make([]byte, -len(n)&3)...)
	n = append(n, desc...)
	return append(n, make([]byte, -len(n)&3)...)
}

func TestNotesAreRead(t *testing.T) {
	id := bytes.Repeat([]byte{0xab}, 20)
	goID := note("Go\x00\x00", noteGoBuildID, []byte("a/b/c/d"))
	for name, test := range map[string]struct {
		file []byte
		want elfNotes
	}{
		"a build-id": {elfWith(note("GNU\x00", 3, id), nil), elfNotes{buildID: id}},
		"after another note": {
			elfWith(append(note("stapsdt\x00", 3, []byte("xyz")), note("GNU\x00", 3, id)...), nil),
			elfNotes{buildID: id},
		},
		"Go's":                {elfWith(goID, nil), elfNotes{goBuildID: "a/b/c/d"}},
		"none":                {elfWith(note("GNU\x00", 1, id), nil), elfNotes{}},
		"a name too long":     {elfWith([]byte{0xff, 0xff, 0xff, 0xff, 4, 0, 0, 0, 3, 0, 0, 0, 'G', 'N', 'U', 0, 1, 2, 3, 4}, nil), elfNotes{}},
		"a descriptor too":    {elfWith([]byte{4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 3, 0, 0, 0, 'G', 'N', 'U', 0, 1, 2, 3, 4}, nil), elfNotes{}},
		"an id too long":      {elfWith(note("GNU\x00", 3, make([]byte, 65)), nil), elfNotes{}},
		"an id of no bytes":   {elfWith(note("GNU\x00", 3, nil), nil), elfNotes{}},
		"notes that are away": {elfWith(nil, func(h []byte) { binary.LittleEndian.PutUint64(h[64+8:], 1<<63); h[64+32] = 9 }), elfNotes{}},
		"terabytes of notes":  {elfWith(note("GNU\x00", 3, id), func(h []byte) { binary.LittleEndian.PutUint64(h[64+32:], 1<<40) }), elfNotes{}},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := readELF(bytes.NewReader(test.file))
			require.NoError(t, err)
			assert.Equal(t, test.want, f.notes)
		})
	}
}

func TestReadReportsNotELFWhenHeadersAreInvalid(t *testing.T) {
	good := elfWith(nil, nil)
	for name, file := range map[string][]byte{
		"empty":          nil,
		"script":         []byte("#!/bin/sh\n" + strings.Repeat("x", 100)),
		"cut off":        good[:63],
		"a third class":  elfWith(nil, func(h []byte) { h[4] = 3 }),
		"a third endian": elfWith(nil, func(h []byte) { h[5] = 3 }),
		"odd size":       elfWith(nil, func(h []byte) { h[54] = 1 }),
		"65,535 headers": elfWith(nil, func(h []byte) { h[56], h[57] = 0xff, 0xff }),
		"headers beyond": elfWith(nil, func(h []byte) { h[34] = 1 }),
		"headers at -1":  elfWith(nil, func(h []byte) { copy(h[32:], "\xff\xff\xff\xff\xff\xff\xff\xff") }),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readELF(bytes.NewReader(file))
			require.ErrorIs(t, err, errNotELF)
			c, err := Read(bytes.NewReader(file))
			require.NoError(t, err)
			assert.Equal(t, evidence.Unknown[string](evidence.ReasonNotELF), c.BuildID)
		})
	}
}

// sparse is a file of a terabyte of which only the beginning is there; it counts what is read of it.
type sparse struct {
	head []byte
	read int64
}

func (s *sparse) ReadAt(p []byte, at int64) (int, error) {
	if at >= 1<<40 {
		return 0, io.EOF
	}
	clear(p)
	if at < int64(len(s.head)) {
		copy(p, s.head[at:])
	}
	s.read += int64(len(p))
	return len(p), nil
}

func TestReadIsBoundedWhenHeadersDemandATerabyte(t *testing.T) {
	for name, change := range map[string]func(h []byte){
		"notes":    func(h []byte) { binary.LittleEndian.PutUint64(h[64+32:], 1<<40) },
		"sections": func(h []byte) { h[40] = 64; h[58] = 64; h[60], h[61] = 0, 0x40 },
		"sections counted in the first": func(h []byte) {
			h[40] = 64
			h[58] = 64
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &sparse{head: elfWith(nil, change)}
			_, err := Read(s)
			require.NoError(t, err)
			assert.LessOrEqual(t, s.read, int64(maxMetadataBytes))
		})
	}
}

func TestBoundedReaderAtCountsEveryRead(t *testing.T) {
	r := boundedReaderAt{r: bytes.NewReader(make([]byte, 100)), budget: limit.New(limit.Limits{Bytes: 100, CPU: time.Hour})}
	n, err := r.ReadAt(make([]byte, 60), 0)
	require.NoError(t, err)
	assert.Equal(t, 60, n)
	_, err = r.ReadAt(make([]byte, 60), 0)
	var exceeded *limit.Error
	require.ErrorAs(t, err, &exceeded, "the same part again counts again")
	_, err = r.ReadAt(make([]byte, 40), 60)
	require.ErrorAs(t, err, &exceeded, "a limit that is reached stays reached")
	r.budget = limit.New(limits)
	_, err = r.ReadAt(make([]byte, 1), -1)
	require.ErrorIs(t, err, io.EOF)
}

func TestGoModulesOfBuildInfo(t *testing.T) {
	info := &debug.BuildInfo{
		GoVersion: "go1.26.8 X:boringcrypto", Path: "example.com/app/cmd",
		Main: debug.Module{Path: "example.com/app", Version: "(devel)"},
		Deps: []*debug.Module{
			{Path: "z.example/z", Version: "v1.0.0"},
			{Path: "a.example/a", Version: "v1.0.0", Replace: &debug.Module{Path: "fork.example/a", Version: "v1.1.0"}},
			{Path: "b.example/b", Version: "v1.0.0", Replace: &debug.Module{Path: "../b"}},
			nil,
		},
	}
	assert.Equal(t, evidence.GoBuild{
		Version: "go1.26.8 X:boringcrypto", Path: "example.com/app/cmd",
		Modules: []evidence.GoModule{
			{Path: "example.com/app", Main: true},
			{Path: "fork.example/a", Version: "v1.1.0"},
			{Path: "stdlib", Version: "1.26.8"},
			{Path: "z.example/z", Version: "v1.0.0"},
		},
	}, goBuildOf(info))
	for range maxGoModules {
		info.Deps = append(info.Deps, &debug.Module{Path: strings.Repeat("x", 1000), Version: "v1.0.0"})
	}
	build := goBuildOf(info)
	assert.True(t, build.Truncated)
	assert.Len(t, build.Modules, maxGoModules)
	assert.LessOrEqual(t, len(build.Modules[maxGoModules-1].Path), evidence.MaxTextBytes)
}

// peWith makes a PE32+ file with one section and a CodeView entry in it.
func peWith(change func(file []byte)) []byte {
	f := make([]byte, 0x400)
	order := binary.LittleEndian
	copy(f, "MZ")
	order.PutUint32(f[60:], 0x80)
	copy(f[0x80:], "PE\x00\x00")
	order.PutUint16(f[0x86:], 1)   // sections
	order.PutUint16(f[0x94:], 240) // size of the optional header
	optional := f[0x98:]
	order.PutUint16(optional, 0x20b)
	order.PutUint32(optional[108:], 16)
	order.PutUint32(optional[112+6*8:], 0x2000) // the debug directory
	order.PutUint32(optional[112+6*8+4:], 28)
	section := f[0x98+240:]
	order.PutUint32(section[12:], 0x2000)
	order.PutUint32(section[16:], 0x100)
	order.PutUint32(section[20:], 0x300)
	order.PutUint32(f[0x300+12:], 2)
	order.PutUint32(f[0x300+24:], 0x340)
	copy(f[0x340:], "RSDS\x78\x56\x34\x12\xbc\x9a\xf0\xde\x01\x02\x03\x04\x05\x06\x07\x08")
	if change != nil {
		change(f)
	}
	return f
}

func TestBuildIDOfPEFile(t *testing.T) {
	for name, test := range map[string]struct {
		change func([]byte)
		want   evidence.Datum[string]
	}{
		"a GUID":              {nil, evidence.Present("pe-guid:12345678-9abc-def0-0102-030405060708")},
		"no debug directory":  {func(f []byte) { clear(f[0x98+112+48:][:8]) }, evidence.Absent[string]()},
		"in no section":       {func(f []byte) { f[0x98+112+49] = 0x90 }, evidence.Absent[string]()},
		"another kind":        {func(f []byte) { f[0x300+12] = 4 }, evidence.Absent[string]()},
		"another signature":   {func(f []byte) { f[0x340] = 'N' }, evidence.Absent[string]()},
		"a record beyond":     {func(f []byte) { f[0x300+27] = 0x7f }, evidence.Unknown[string](evidence.ReasonNotELF)},
		"too many sections":   {func(f []byte) { f[0x87] = 0xff }, evidence.Unknown[string](evidence.ReasonNotELF)},
		"a third format":      {func(f []byte) { f[0x98] = 0 }, evidence.Unknown[string](evidence.ReasonNotELF)},
		"a header beyond":     {func(f []byte) { f[63] = 0x7f }, evidence.Unknown[string](evidence.ReasonNotELF)},
		"2^32/28 entries":     {func(f []byte) { copy(f[0x98+112+52:], "\xff\xff\xff\xff") }, evidence.Unknown[string](evidence.ReasonNotELF)},
		"short optional part": {func(f []byte) { f[0x94] = 8 }, evidence.Unknown[string](evidence.ReasonNotELF)},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Read(bytes.NewReader(peWith(test.change)))
			require.NoError(t, err)
			assert.Equal(t, test.want, c.BuildID)
		})
	}
}

var errDisk = errors.New("input/output error")

type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errDisk }

func TestReadErrorIsReturned(t *testing.T) {
	_, err := Read(broken{})
	assert.ErrorIs(t, err, errDisk)
}

func FuzzRead(f *testing.F) {
	f.Add(elfWith(note("GNU\x00", 3, bytes.Repeat([]byte{1}, 20)), nil))
	f.Add(elfWith(nil, func(h []byte) { h[40] = 64; h[58] = 64; h[60] = 2 }))
	f.Add(peWith(nil))
	f.Add([]byte("\x7fELF\x01\x02"))
	f.Add(append(elfWith(nil, nil), "\xff Go buildinf:\x08\x02"...))
	f.Fuzz(func(t *testing.T, file []byte) {
		oracle.Bound(t, oracle.Parsing(len(file)))
		c, err := Read(bytes.NewReader(file))
		require.NoError(t, err)
		if id, ok := c.BuildID.Get(); ok {
			assert.True(t, strings.HasPrefix(id, "gnu-build-id:") || strings.HasPrefix(id, "pe-guid:"))
		}
		for _, m := range c.Go.Value.Modules {
			m.PURL()
		}
	})
}

func TestNotesAreReadWhenAlignedToEightBytes(t *testing.T) {
	eight := func(n []byte) []byte { return append(n, make([]byte, -len(n)&7)...) }
	property := eight(note("GNU\x00", 5, bytes.Repeat([]byte{1}, 12)))
	id := bytes.Repeat([]byte{0xab}, 20)
	file := elfWith(append(property, note("GNU\x00", noteGNUBuildID, id)...), func(h []byte) { h[64+48] = 8 })
	f, err := readELF(bytes.NewReader(file))
	require.NoError(t, err)
	assert.Equal(t, id, f.notes.buildID)
}
