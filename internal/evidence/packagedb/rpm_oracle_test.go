// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package packagedb

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	rpmdb "github.com/anchore/go-rpmdb/pkg"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // the driver that go-rpmdb asks for by name

	"github.com/zastava-otel/zastava/internal/limit"
)

// ownership has each package that owns a file, as file systems of rpm let several packages own a directory or the same file.
type ownership map[string][]installed

func (o ownership) add(path string, p installed) { o[path] = append(o[path], p) }

func (o ownership) sorted() ownership {
	for _, owners := range o {
		slices.SortFunc(owners, func(a, b installed) int {
			return strings.Compare(a.name+" "+a.version+" "+a.arch, b.name+" "+b.version+" "+b.arch)
		})
	}
	return o
}

// oracle reads a database by another implementation, go-rpmdb. It is not used but in tests: it trusts what it reads
// (docs/decisions/0002-own-readers-of-rpm-and-elf.md).
func oracle(tb testing.TB, path string) ownership {
	tb.Helper()
	db, err := rpmdb.Open(path)
	require.NoError(tb, err)
	defer func() { _ = db.Close() }()
	packages, err := db.ListPackages()
	require.NoError(tb, err)
	owners := ownership{}
	for _, p := range packages {
		owner := installed{name: p.Name, version: p.Version + "-" + p.Release, arch: p.Arch}
		if p.Epoch != nil {
			owner.epoch = strconv.Itoa(*p.Epoch)
		}
		require.Len(tb, p.DirIndexes, len(p.BaseNames))
		for i, base := range p.BaseNames {
			owners.add(p.DirNames[p.DirIndexes[i]]+base, owner)
		}
	}
	return owners.sorted()
}

// newReader returns a reader of a database within the limits of a search.
func newReader(database []byte) *rpmReader {
	return &rpmReader{r: bytes.NewReader(database), budget: limit.New(limits)}
}

// requireOracleAgrees compares the reading of a database with the oracle's, and returns how many files have an owner.
func requireOracleAgrees(t *testing.T, read rpmFormat, path string) int {
	t.Helper()
	want := oracle(t, path)
	database, err := os.ReadFile(path)
	require.NoError(t, err)
	w := wanted{}
	for path := range want {
		w.spell(path, spelling{path, true}) // and not as add does: the other spelling may be another file
	}
	found := ownership{}
	r := newReader(database)
	require.NoError(t, read(r, func(header []byte) error { return w.parseRPM(r.budget, header, found.add) }))
	require.Len(t, found, len(want))
	for path, owners := range found.sorted() {
		if !assert.Equal(t, want[path], owners, path) {
			break
		}
	}
	return len(found)
}

func TestOwnersAgreeWithOracleOnDatabasesOfDistributions(t *testing.T) {
	databases := databasesOfDistributions(t)
	formats := map[string]rpmFormat{"rpmdb.sqlite": readRPMSQLite, "Packages.db": readRPMNDB, "Packages": readRPMBerkeley}
	read := map[string]int{}
	for name, format := range formats {
		found, err := filepath.Glob(filepath.Join(databases, "*", name))
		require.NoError(t, err)
		for _, path := range found {
			t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
				read[name]++
				assert.Positive(t, requireOracleAgrees(t, format, path))
			})
		}
	}
	assert.Len(t, read, len(formats), "each format has a database")
}

// BenchmarkRPMReaders looks up 100 files in databases of three formats, by the readers here and by go-rpmdb.
func BenchmarkRPMReaders(b *testing.B) {
	databases := databasesOfDistributions(b)
	for _, test := range []struct {
		name, path string
		read       rpmFormat
	}{
		{"sqlite", filepath.Join(databases, "oraclelinux-9", "rpmdb.sqlite"), readRPMSQLite},
		{"ndb", filepath.Join(databases, "sle15-bci", "Packages.db"), readRPMNDB},
		{"bdb", filepath.Join(databases, "centos7-many", "Packages"), readRPMBerkeley},
	} {
		w, asked := wanted{}, map[string]bool{}
		for path := range oracle(b, test.path) {
			w.spell(path, spelling{path, true})
			if asked[path] = true; len(asked) == 100 {
				break
			}
		}
		b.Run(test.name+"/ours", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				file, err := os.Open(test.path)
				require.NoError(b, err)
				found := 0
				r := &rpmReader{r: file, budget: limit.New(limits)}
				require.NoError(b, test.read(r, func(header []byte) error { return w.parseRPM(r.budget, header, func(string, installed) { found++ }) }))
				require.GreaterOrEqual(b, found, len(asked))
				require.NoError(b, file.Close())
			}
		})
		b.Run(test.name+"/go-rpmdb", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				found := 0
				for path := range oracle(b, test.path) {
					if asked[path] {
						found++
					}
				}
				require.Equal(b, len(asked), found)
			}
		})
	}
}

// databasesOfDistributions returns the directory of the databases that go-rpmdb is tested with, which rpm wrote on CentOS, Fedora, SUSE and
// others, s390x among them, which is big-endian.
func databasesOfDistributions(tb testing.TB) string {
	tb.Helper()
	dir, err := exec.CommandContext(tb.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/anchore/go-rpmdb").Output()
	if err != nil {
		tb.Skip("needs the go command and the source of go-rpmdb:", err)
	}
	return filepath.Join(strings.TrimSpace(string(dir)), "pkg", "testdata")
}
