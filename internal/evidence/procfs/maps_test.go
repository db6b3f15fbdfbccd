// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

func TestReadMapsReturnsFilesOfCode(t *testing.T) {
	const text = `00400000-00401000 r--p 00000000 fe:00 10 /usr/bin/app
00401000-00402000 r-xp 00001000 fe:00 10 /usr/bin/app
01000000-01021000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000001000 r--p 00000000 fe:00 11                 /usr/lib/libc.so.6
7f0000001000-7f0000002000 r-xp 00001000 fe:00 11                 /usr/lib/libc.so.6
7f0000002000-7f0000003000 rw-p 00002000 fe:00 11                 /usr/lib/libc.so.6
7f0000003000-7f0000004000 rw-p 00000000 00:00 0
7f0000010000-7f0000011000 r--p 00000000 fe:00 12                 /usr/share/locale/x.mo
7f0000020000-7f0000021000 r--s 00000000 fe:00 13                 /app/shop.jar
7f0000030000-7f0000031000 r-xp 00003000 fe:00 14                 /opt/a b/lib\012x.so (deleted)
7f0000040000-7f0000041000 rwxp 00000000 00:00 0                  //anon
7ffff7fc1000-7ffff7fc3000 r-xp 00000000 00:00 0                  [vdso]
7ffff7fd0000-7ffff7fd1000 r-xp 00000000 00:0f 99                 anon_inode:[perf_event]
`
	found, err := readMaps(strings.NewReader(text), 100)
	require.NoError(t, err)
	dev := device{0xfe, 0}
	assert.Equal(t, []mapping{
		{path: "/usr/bin/app", raw: "/usr/bin/app", device: dev, inode: 10, base: 0x400000, start: 0x401000, end: 0x402000},
		{path: "/usr/lib/libc.so.6", raw: "/usr/lib/libc.so.6", device: dev, inode: 11, base: 0x7f0000000000, start: 0x7f0000001000, end: 0x7f0000002000},
		{path: "/app/shop.jar", raw: "/app/shop.jar", device: dev, inode: 13, base: 0x7f0000020000, start: 0x7f0000020000, end: 0x7f0000021000},
		{
			path: "/opt/a b/lib\nx.so", raw: `/opt/a b/lib\012x.so (deleted)`, deleted: true, device: dev, inode: 14,
			base: 0x7f000002d000, start: 0x7f0000030000, end: 0x7f0000031000,
		},
	}, found.code)
	assert.Equal(t, "254:0", found.code[0].device.String())
}

func TestReadMapsIgnoresInvalidLine(t *testing.T) {
	const good = "00400000-00401000 r-xp 00000000 fe:00 10 /app\n"
	for name, bad := range map[string]string{
		"empty line":         "\n",
		"no span":            "00400000 r-xp 00000000 fe:00 10 /x\n",
		"backwards":          "00401000-00400000 r-xp 00000000 fe:00 10 /x\n",
		"not hexadecimal":    "0040000g-00401000 r-xp 00000000 fe:00 10 /x\n",
		"a sign":             "+0400000-00401000 r-xp 00000000 fe:00 10 /x\n",
		"too large a number": "00400000-ffffffffffffffffff r-xp 00000000 fe:00 10 /x\n",
		"short permissions":  "00400000-00401000 rx 00000000 fe:00 10 /x\n",
		"no device":          "00400000-00401000 r-xp 00000000 fe00 10 /x\n",
		"wide device":        "00400000-00401000 r-xp 00000000 1fffffffff:00 10 /x\n",
		"no inode":           "00400000-00401000 r-xp 00000000 fe:00\n",
		"no path":            "00400000-00401000 r-xp 00000000 fe:00 10\n",
		"relative":           "00400000-00401000 r-xp 00000000 fe:00 10 x\n",
		"longer than a path": "00400000-00401000 r-xp 00000000 fe:00 10 /" + strings.Repeat("x", 3*maxMapsLine) + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			found, err := readMaps(strings.NewReader(bad+good), 100)
			require.NoError(t, err)
			require.Len(t, found.code, 1, "the line after it is read")
			assert.Equal(t, "/app", found.code[0].path)
		})
	}
}

func TestReadMapsIsTruncatedBeyondLimit(t *testing.T) {
	var text strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&text, "%x-%x r-xp 00000000 fe:00 %d /lib/%d.so\n", 0x1000*(i+1), 0x1000*(i+2), i+1, i)
	}
	found, err := readMaps(strings.NewReader(text.String()), 65_536)
	require.ErrorIs(t, err, errMapsTruncated)
	assert.Len(t, found.code, 65_536)
}

func TestMappedKindByPath(t *testing.T) {
	for path, want := range map[string]evidence.Kind{
		"/usr/lib/x86_64-linux-gnu/libssl.so.3":                                          evidence.KindLibrary,
		"/usr/lib/python3.11/lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so":           evidence.KindExtension,
		"/usr/local/lib/python3.12/site-packages/numpy/core/_multiarray_umath.abi3.so":   evidence.KindExtension,
		"/usr/local/lib/python3.12/site-packages/numpy.libs/libopenblas64_p-r0-0cf96a72": evidence.KindLibrary,
		"/usr/local/lib/python3.12/site-packages/numpy.libs/libgfortran-040039e1.so.5.0": evidence.KindLibrary,
		"/app/node_modules/bcrypt/lib/binding/bcrypt_lib.node":                           evidence.KindExtension,
		"/usr/lib/x86_64-linux-gnu/ruby/3.1.0/json/ext/parser.so":                        evidence.KindExtension,
		"/usr/lib/ruby/libruby.so":                                                       evidence.KindLibrary,
		"/app/shop.JAR":                                                                  evidence.KindJar,
		"/app/Shop.dll":                                                                  evidence.KindAssembly,
		"/usr/bin/app":                                                                   evidence.KindLibrary,
	} {
		assert.Equal(t, want, mappedKind(path), path)
	}
}

func FuzzMaps(f *testing.F) {
	f.Add([]byte("00400000-00401000 r-xp 00000000 fe:00 10 /app\n"), 10)
	f.Add([]byte("0-f r-xp ffffffffffffffff ffffffff:0 1 /\\012 (deleted)\n\n-"), 1)
	f.Fuzz(func(t *testing.T, text []byte, lines int) {
		oracle.Bound(t, oracle.Parsing(len(text)))
		lines = max(0, lines%1000)
		found, err := readMaps(strings.NewReader(string(text)), lines)
		if err != nil {
			require.ErrorIs(t, err, errMapsTruncated)
		}
		assert.LessOrEqual(t, len(found.code), lines)
		for _, m := range found.code {
			assert.NotZero(t, m.inode)
			assert.Less(t, m.start, m.end)
			assert.True(t, strings.HasPrefix(m.raw, "/"))
			mappedKind(m.path)
		}
	})
}
