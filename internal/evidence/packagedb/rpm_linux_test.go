// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package packagedb

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/limit"
)

// need skips a test if a program is not installed.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s", program)
		}
	}
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	said, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	require.NoError(t, err, "%s %v: %s", name, args, said)
	return string(said)
}

// rpmSpecs are a package whose header is larger than a page of any database, and one whose header is not.
var rpmSpecs = map[string]string{
	"tools": `Name: Zastava-Tools
Epoch: 2
Version: 1.4
Release: 3.el9
Summary: A test
License: Apache-2.0
%description
A test.
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/usr/share/zastava
touch %{buildroot}/usr/bin/busybox
for i in $(seq 600); do touch %{buildroot}/usr/share/zastava/$i; done
%files
/usr/bin/busybox
/usr/share/zastava
`,
	"small": `Name: small
Version: 1
Release: 1
Summary: A test
License: Apache-2.0
%description
A test.
%install
mkdir -p %{buildroot}/usr/lib64
touch %{buildroot}/usr/lib64/libsmall.so.1
%files
/usr/lib64/libsmall.so.1
`,
}

// rpmDatabase returns the path of a database that rpm writes, and the owner of each file by rpm.
func rpmDatabase(t *testing.T) (path string, owners map[string]installed) {
	t.Helper()
	need(t, "rpm", "rpmbuild")
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	build := []string{"-bb", "--quiet", "--target", "x86_64", "--define", "_topdir " + dir, "--define", "_build_id_links none", "--define", "debug_package %{nil}"}
	for name, spec := range rpmSpecs {
		at := filepath.Join(dir, name+".spec")
		require.NoError(t, os.WriteFile(at, []byte(spec), 0o600))
		build = append(build, at)
	}
	output(t, "rpmbuild", build...)
	packages, err := filepath.Glob(filepath.Join(dir, "RPMS", "x86_64", "*.rpm"))
	require.NoError(t, err)
	require.Len(t, packages, len(rpmSpecs))
	require.NoError(t, os.MkdirAll(root, 0o755))
	query := []string{"--root", root, "--dbpath", "/var/lib/rpm", "--define", "_db_backend sqlite"}
	output(t, "rpm", append(append(query, "--justdb", "--nodeps", "--noscripts", "-i"), packages...)...)
	path = filepath.Join(root, "var/lib/rpm/rpmdb.sqlite")
	if _, err := os.Stat(path); err != nil {
		t.Skip("needs an rpm with SQLite")
	}
	said, err := exec.CommandContext(t.Context(), "rpm", append(query, "-qa", "--qf", "[%{FILENAMES}\t%{=NAME}\t%{=VERSION}-%{=RELEASE}\t%{=ARCH}\t%|EPOCH?{%{=EPOCH}}|\n]")...).Output()
	require.NoError(t, err)
	owners = map[string]installed{}
	for line := range strings.Lines(string(said)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		owners[f[0]] = installed{f[1], f[2], f[3], f[4]}
	}
	require.Len(t, owners, 603)
	return path, owners
}

// ownersIn reads a database, and returns the owner of each of the files.
func ownersIn(t *testing.T, read rpmFormat, database []byte, files map[string]installed) map[string]installed {
	t.Helper()
	w := wanted{}
	for path := range files {
		w.add(path)
	}
	found := map[string]installed{}
	r := newReader(database)
	require.NoError(t, read(r, func(header []byte) error {
		return w.parseRPM(r.budget, header, func(path string, p installed) { found[path] = p })
	}))
	return found
}

// headersIn returns the headers of a database.
func headersIn(t *testing.T, read rpmFormat, database []byte) (headers [][]byte) {
	t.Helper()
	require.NoError(t, read(newReader(database), func(header []byte) error {
		headers = append(headers, bytes.Clone(header))
		return nil
	}))
	return headers
}

// TestOwnersMatchRPM compares what is read of databases with what rpm and the oracle report of them.
func TestOwnersMatchRPM(t *testing.T) {
	t.Parallel()
	path, owners := rpmDatabase(t)
	sqlite, err := os.ReadFile(path)
	require.NoError(t, err)
	headers := headersIn(t, readRPMSQLite, sqlite)
	require.Len(t, headers, 2)

	t.Run("SQLite", func(t *testing.T) {
		assert.Equal(t, owners, ownersIn(t, readRPMSQLite, sqlite, owners))
		requireOracleAgrees(t, readRPMSQLite, path)
	})
	for _, page := range []int{512, 4096, 65_536} {
		t.Run(fmt.Sprintf("Berkeley DB with pages of %d", page), func(t *testing.T) {
			need(t, "db5.3_load")
			at := filepath.Join(t.TempDir(), "Packages")
			load := exec.CommandContext(t.Context(), "db5.3_load", at)
			var text strings.Builder
			fmt.Fprintf(&text, "VERSION=3\nformat=bytevalue\ntype=hash\ndb_pagesize=%d\nHEADER=END\n 00000000\n 02000000\n", page)
			for i, header := range headers {
				fmt.Fprintf(&text, " %02x000000\n %s\n", i+1, hex.EncodeToString(header))
			}
			text.WriteString("DATA=END\n")
			load.Stdin = strings.NewReader(text.String())
			said, err := load.CombinedOutput()
			require.NoError(t, err, "%s", said)
			database, err := os.ReadFile(at)
			require.NoError(t, err)
			assert.Equal(t, owners, ownersIn(t, readRPMBerkeley, database, owners))
			requireOracleAgrees(t, readRPMBerkeley, at)
		})
	}
	t.Run("ndb", func(t *testing.T) { // no program that Debian has writes these
		assert.Equal(t, owners, ownersIn(t, readRPMNDB, ndbOf(headers), owners))
		at := filepath.Join(t.TempDir(), "Packages.db")
		require.NoError(t, os.WriteFile(at, ndbOf(headers), 0o600))
		requireOracleAgrees(t, readRPMNDB, at)
	})
}

// ndbOf lays headers out as rpm's lib/backend/ndb/rpmpkg.c does.
func ndbOf(headers [][]byte) []byte {
	order := binary.LittleEndian
	file := append([]byte("RpmP"), make([]byte, 4096-4)...)
	order.PutUint32(file[12:], 1)
	order.PutUint32(file[16:], uint32(len(headers)+1))
	for i := 32; i < len(file); i += 16 {
		copy(file[i:], "Slot")
	}
	for i, header := range headers {
		slot := file[32+16*(i+3):] // some before it are empty
		order.PutUint32(slot[4:], uint32(i+1))
		order.PutUint32(slot[8:], uint32(len(file)/16))
		blob := append([]byte("BlbS"), make([]byte, 12)...)
		order.PutUint32(blob[4:], uint32(i+1))
		order.PutUint32(blob[12:], uint32(len(header)))
		blob = append(blob, header...)
		blob = append(blob, make([]byte, 16-len(blob)%16)...)
		order.PutUint32(slot[12:], uint32(len(blob)/16))
		file = append(file, blob...)
	}
	return file
}

// rpmFixture returns a database that rpm wrote, with the package small.
func rpmFixture(tb testing.TB) []byte {
	tb.Helper()
	f, err := os.Open("testdata/rpmdb.sqlite.gz")
	require.NoError(tb, err)
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	require.NoError(tb, err)
	database, err := io.ReadAll(z)
	require.NoError(tb, err)
	return database
}

func TestOwnersInFixtureOfRPM(t *testing.T) {
	database := rpmFixture(t)
	want := map[string]installed{"/usr/lib64/libsmall.so.1": {"small", "1-1", "x86_64", ""}}
	found := ownersIn(t, readRPMSQLite, database, map[string]installed{"/usr/lib64/libsmall.so.1": {}, "/usr/lib64/libother.so": {}})
	assert.Equal(t, want, found)
	assert.Equal(t, want, ownersIn(t, readRPMNDB, ndbOf(headersIn(t, readRPMSQLite, database)), want))
}

func TestHostileRPMDatabaseIsRefused(t *testing.T) {
	order := binary.LittleEndian
	database := rpmFixture(t)
	ndb := ndbOf(headersIn(t, readRPMSQLite, database))
	again := bytes.Clone(ndb) // every slot is the same package
	for i := 32; i < 4096; i += 16 {
		copy(again[i:], ndb[32+16*3:][:16])
	}
	endless := bytes.Clone(ndb)
	order.PutUint32(endless[order.Uint32(ndb[32+16*3+8:])*16+12:], maxRPMHeader+1)
	loop := bytes.Clone(database) // the root of the first tree is its own child
	copy(loop[100:], []byte{sqliteInterior, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})
	for name, test := range map[string]struct {
		read     rpmFormat
		database []byte
		left     int64
		want     error
	}{
		"nothing":               {readRPMSQLite, nil, maxRPMBytes, ErrFormat},
		"not SQLite":            {readRPMSQLite, ndb, maxRPMBytes, ErrFormat},
		"not ndb":               {readRPMNDB, database, maxRPMBytes, ErrFormat},
		"not Berkeley DB":       {readRPMBerkeley, ndb, maxRPMBytes, ErrFormat},
		"cut off":               {readRPMSQLite, database[:len(database)/8], maxRPMBytes, ErrFormat},
		"a loop":                {readRPMSQLite, loop, maxRPMBytes, ErrFormat},
		"one package for ever":  {readRPMNDB, again, 64 << 10, &limit.Error{Kind: limit.Bytes, Max: 64 << 10}},
		"an endless header":     {readRPMNDB, endless, maxRPMBytes, &limit.Error{Kind: limit.Bytes, Max: maxRPMHeader}},
		"more than may be read": {readRPMSQLite, database, 10 << 10, &limit.Error{Kind: limit.Bytes, Max: 10 << 10}},
	} {
		t.Run(name, func(t *testing.T) {
			bounds := limits
			bounds.Bytes = test.left
			r := &rpmReader{r: bytes.NewReader(test.database), budget: limit.New(bounds)}
			require.Equal(t, test.want, test.read(r, func([]byte) error { return nil }))
		})
	}
}
