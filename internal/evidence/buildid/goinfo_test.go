// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package buildid

import (
	"bytes"
	"debug/buildinfo"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/test/hostile"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

// requireBuildinfoAgrees compares the reading of a file with that of package debug/buildinfo, and returns whether Go linked it.
func requireBuildinfoAgrees(tb testing.TB, file []byte) bool {
	tb.Helper()
	c, err := Read(bytes.NewReader(file))
	require.NoError(tb, err)
	info, err := buildinfo.Read(bytes.NewReader(file))
	if err != nil {
		require.NotEqual(tb, evidence.StatusPresent, c.Go.Status)
		return false
	}
	require.Equal(tb, evidence.Present(goBuildOf(info)), c.Go)
	return true
}

// goPrograms returns programs that Go linked: those that this toolchain has, and one for each architecture and mode that it can link here.
func goPrograms(t *testing.T) (programs []string) {
	t.Helper()
	goroot, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Skip("needs the go command:", err)
	}
	root := strings.TrimSpace(string(goroot))
	for _, pattern := range []string{
		filepath.Join(root, "bin", "*"), filepath.Join(root, "pkg", "tool", "*", "*"), filepath.Join("..", "..", "..", "build", "tools", "*"), "/proc/self/exe",
	} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		programs = append(programs, found...)
	}
	return programs
}

func TestGoBuildInfoIsThatOfPackageBuildinfo(t *testing.T) {
	read := 0
	for _, path := range goPrograms(t) {
		file, err := os.ReadFile(path)
		if err != nil || !bytes.HasPrefix(file, []byte("\x7fELF")) {
			continue
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			if requireBuildinfoAgrees(t, file) {
				read++
			}
			clear(file[40:48]) // no section headers, as after sstrip
			clear(file[58:64])
			requireBuildinfoAgrees(t, file)
		})
	}
	if runtime.GOOS == "linux" {
		assert.Positive(t, read)
	}
}

// TestGoBuildInfoOfOtherArchitectures has programs of 32 bits, of the other order of bytes, and of position-independent code.
func TestGoBuildInfoOfOtherArchitectures(t *testing.T) {
	if os.Getenv("ZASTAVA_E2E") != "long" {
		t.Skip("compiles Go's runtime four times: set ZASTAVA_E2E=long")
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/small\n\ngo 1.21\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nfunc main() {}\n"), 0o600))
	for arch, mode := range map[string]string{"386": "exe", "amd64": "pie", "mips": "exe", "s390x": "exe"} {
		t.Run(arch, func(t *testing.T) {
			out := filepath.Join(dir, arch)
			build := exec.CommandContext(t.Context(), "go", "build", "-buildmode="+mode, "-o", out, ".")
			build.Dir = dir
			build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=-buildvcs=false")
			if said, err := build.CombinedOutput(); err != nil {
				t.Skipf("cannot link here: %v: %s", err, said)
			}
			file, err := os.ReadFile(out)
			require.NoError(t, err)
			assert.True(t, requireBuildinfoAgrees(t, file))
		})
	}
}

// goFile makes a 64-bit little-endian ELF file without sections, with one segment of data at 0x400000 that has Go's block.
func goFile(block []byte) []byte {
	file := elfWith(nil, func(h []byte) {
		order := binary.LittleEndian
		order.PutUint16(h[16:], 2)   // ET_EXEC
		order.PutUint32(h[20:], 1)   // EV_CURRENT
		order.PutUint32(h[64:], 1)   // PT_LOAD
		order.PutUint32(h[64+4:], 6) // readable and writable
		order.PutUint64(h[64+8:], 128)
		order.PutUint64(h[64+16:], 0x400000)
		order.PutUint64(h[64+32:], uint64(len(block)))
		order.PutUint64(h[64+40:], uint64(len(block))+4096)
	})
	return slices.Concat(file, make([]byte, 128-len(file)), block)
}

// inlineBlock is the block of build information since Go 1.18.
func inlineBlock(version, modules string) []byte {
	block := append([]byte(goMagic), 8, goInline)
	block = append(block, make([]byte, goHeader-len(block))...)
	for _, s := range []string{version, modules} {
		block = append(binary.AppendUvarint(block, uint64(len(s))), s...)
	}
	return block
}

// pointedBlock is the block of build information before Go 1.18, with the strings after it.
func pointedBlock(width int, order binary.AppendByteOrder, flags byte, version, modules string) []byte {
	block := append([]byte(goMagic), byte(width), flags)
	put := func(n uint64) {
		if width == 4 {
			block = order.AppendUint32(block, uint32(n))
		} else {
			block = order.AppendUint64(block, n)
		}
	}
	const base = 0x400000
	put(base + 64)
	put(base + 64 + 2*uint64(width))
	block = append(block, make([]byte, 64-len(block))...)
	put(base + 128)
	put(uint64(len(version)))
	put(base + 128 + uint64(len(version)))
	put(uint64(len(modules)))
	block = append(block, make([]byte, 128-len(block))...)
	return slices.Concat(block, []byte(version), []byte(modules))
}

// framed puts the sentinels around the text of the modules.
func framed(modules string) string {
	return strings.Repeat("<", goFrame) + modules + strings.Repeat(">", goFrame)
}

const smallModules = "path\texample.com/app\nmod\texample.com/app\tv1.0.0\th1:x\ndep\tgithub.com/a/b\tv1.2.3\th1:y\nbuild\t-compiler=gc\n"

// padded is a block with bytes after it: package debug/buildinfo finds no length in the last bytes of a segment.
func padded(block []byte) []byte { return append(bytes.Clone(block), make([]byte, 16)...) }

func TestGoBuildInfoInEveryFormat(t *testing.T) {
	late := slices.Concat(make([]byte, 200<<10+16), inlineBlock("go1.26.8", framed(smallModules)))
	for name, block := range map[string][]byte{
		"inline":                      inlineBlock("go1.26.8", framed(smallModules)),
		"far from the beginning":      late,
		"pointers of 8 bytes":         pointedBlock(8, binary.LittleEndian, 0, "go1.17.13", framed(smallModules)),
		"pointers of 4 bytes":         pointedBlock(4, binary.LittleEndian, 0, "go1.13.1", framed(smallModules)),
		"pointers of the other order": pointedBlock(8, binary.BigEndian, goBigEndian, "go1.16", framed(smallModules)),
		"without modules":             pointedBlock(8, binary.LittleEndian, 0, "go1.15", ""),
		"inline without modules":      inlineBlock("go1.26.8", ""),
	} {
		t.Run(name, func(t *testing.T) {
			assert.True(t, requireBuildinfoAgrees(t, goFile(padded(block))))
		})
	}
	for name, block := range map[string][]byte{
		"no block":                  make([]byte, 4096),
		"pointers of 3 bytes":       pointedBlock(3, binary.LittleEndian, 0, "go1.15", ""),
		"no version":                inlineBlock("", framed(smallModules)),
		"a length beyond the file":  append(inlineBlock("go1", ""), 0)[:goHeader+1],
		"a length without an end":   append(inlineBlock("", "")[:goHeader], bytes.Repeat([]byte{0xff}, 20)...),
		"cut off":                   inlineBlock("go1.26.8", framed(smallModules))[:goHeader+30],
		"modules that do not parse": inlineBlock("go1.26.8", framed("dep\tx\ny\n")),
		"magic at the end":          append(make([]byte, 64), goMagic...),
	} {
		t.Run(name, func(t *testing.T) {
			assert.False(t, requireBuildinfoAgrees(t, goFile(block)))
		})
	}
}

// TestGoBuildInfoAfterAMagicElsewhereIsFound has what package debug/buildinfo of Go 1.26 does not find: it loses its place after a magic that
// is not aligned.
func TestGoBuildInfoAfterAMagicElsewhereIsFound(t *testing.T) {
	block := slices.Concat([]byte("\x00"+goMagic), make([]byte, 17), inlineBlock("go1.26.8", framed(smallModules)))
	c, err := Read(bytes.NewReader(goFile(block)))
	require.NoError(t, err)
	assert.Equal(t, "go1.26.8", c.Go.Value.Version)
}

func TestGoModulesBeyondTheBoundAreCut(t *testing.T) {
	modules := framed(smallModules + strings.Repeat("dep\tgithub.com/a/b\tv1.2.3\th1:y\n", 3*maxGoModules))
	c, err := Read(bytes.NewReader(goFile(inlineBlock("go1.26.8", modules))))
	require.NoError(t, err)
	assert.True(t, c.Go.Value.Truncated)
	assert.Len(t, c.Go.Value.Modules, maxGoModules)
}

func TestControlCharactersOfVersionsAreNotRecorded(t *testing.T) {
	c, err := Read(bytes.NewReader(goFile(inlineBlock("go1.26.8\x1b[2J\u202e\xff", framed("path\tx\x07\nmod\tx\tv1\x00\th1\n")))))
	require.NoError(t, err)
	assert.Equal(t, "go1.26.8?[2J?", c.Go.Value.Version)
	assert.Equal(t, "x?", c.Go.Value.Path)
	assert.Equal(t, "v1?", c.Go.Value.Modules[0].Version)
}

// program returns a small program to make hostile files of: they must still run.
func program(tb testing.TB) []byte {
	tb.Helper()
	file, err := os.ReadFile("/bin/true")
	if err != nil || !bytes.HasPrefix(file, []byte("\x7fELF\x02\x01")) {
		tb.Skip("needs a 64-bit little-endian /bin/true")
	}
	return file
}

// TestHostileBinariesAreMarkedAndCostLittle has every kind of file whose headers ask for more than they are worth.
func TestHostileBinariesAreMarkedAndCostLittle(t *testing.T) {
	const mostBytes = 24 << 20 // allocated; a bomb that is unpacked takes a GiB
	zlib, err := hostile.ELFBomb(program(t), 1<<30, hostile.Zlib)
	require.NoError(t, err)
	zstd, err := hostile.ELFBomb(program(t), 1<<30, hostile.Zstd)
	require.NoError(t, err)
	for name, test := range map[string]struct {
		file []byte
		want evidence.Reason
	}{
		"zlib":                    {zlib, evidence.ReasonHostile},
		"zstd":                    {zstd, evidence.ReasonHostile},
		"sections of notes":       {hostile.ELFNotes(16_000, 64<<10), evidence.ReasonHostile},
		"gigantic modules":        {goFile(inlineBlock("go1.26.8", framed(strings.Repeat("dep\ta\tv\n", 1<<20)))), evidence.ReasonHostile},
		"a gigantic version":      {goFile(inlineBlock(strings.Repeat("9", 2<<20), "")), evidence.ReasonHostile},
		"gigantic old modules":    {goFile(pointedBlock(8, binary.LittleEndian, 0, "go1.16", framed(strings.Repeat("dep\ta\tv\n", 1<<20)))), evidence.ReasonHostile},
		"PE of 65,535 sections":   {hostile.PE(65_535, 0), evidence.ReasonNotELF},
		"PE of 2^32 symbols":      {hostile.PE(1, 1<<32-1), evidence.ReasonNotELF},
		"Mach-O of 2^32 commands": {hostile.MachO(1<<32 - 1), evidence.ReasonNotELF},
	} {
		t.Run(name, func(t *testing.T) {
			oracle.Bound(t, oracle.Cost{Bytes: mostBytes, CPU: oracle.Parsing(0).CPU})
			c, err := Read(bytes.NewReader(test.file))
			require.NoError(t, err)
			assert.Equal(t, Unknown(test.want), c)
		})
	}
}

// changing is a file that is honest when it is read first, and a bomb after.
type changing struct {
	honest, bomb []byte
	reads        int
}

func (c *changing) ReadAt(p []byte, at int64) (int, error) {
	file := c.bomb
	if c.reads == 0 {
		file = c.honest
	}
	c.reads++
	return bytes.NewReader(file).ReadAt(p, at)
}

func TestFileThatChangesWhileItIsReadCostsLittle(t *testing.T) {
	honest := program(t)
	bomb, err := hostile.ELFBomb(honest, 1<<30, hostile.Zstd)
	require.NoError(t, err)
	for first := range 6 {
		oracle.Bound(t, oracle.Parsing(0))
		_, err = Read(&changing{honest: honest, bomb: bomb, reads: -first})
		require.NoError(t, err)
	}
}

func FuzzGoBuildInfo(f *testing.F) {
	f.Add(inlineBlock("go1.26.8", framed(smallModules)))
	f.Add(pointedBlock(8, binary.LittleEndian, 0, "go1.16", framed(smallModules)))
	f.Add(pointedBlock(4, binary.BigEndian, goBigEndian, "go1.13", framed(smallModules)))
	f.Add(append(inlineBlock("", "")[:goHeader], 0xff, 0xff, 0xff, 0xff, 0x0f))
	f.Fuzz(func(t *testing.T, block []byte) {
		oracle.Bound(t, oracle.Parsing(len(block)))
		// Longer texts are refused here, and read there; and the other reader loses its place after a magic that is not aligned.
		if len(block) < maxGoVersion && bytes.Count(block, []byte(goMagic)) <= 1 {
			requireBuildinfoAgrees(t, goFile(padded(block)))
		}
	})
}
