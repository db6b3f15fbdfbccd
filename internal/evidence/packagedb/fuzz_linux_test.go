// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package packagedb

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	costs "github.com/zastava-otel/zastava/internal/test/oracle"
)

// requirePlausible checks what holds of every answer: only wanted paths have an owner.
func requirePlausible(t *testing.T, root files, wanted ...string) {
	t.Helper()
	owners, _ := Owners(root, wanted)
	for path := range owners {
		assert.Contains(t, wanted, path)
	}
}

func FuzzDpkgDatabase(f *testing.F) {
	f.Add([]byte("Package: x\nStatus: install ok installed\nVersion: 1\n\n"), []byte("/.\n/usr/app\n"), false)
	f.Add([]byte("Package: x\nVersion: 1\nArchitecture: a"), []byte("0  usr/app\n"), true)
	f.Fuzz(func(t *testing.T, status, list []byte, dir bool) {
		costs.Bound(t, costs.Parsing(len(status)+len(list)))
		if dir {
			requirePlausible(t, files{dpkgStatusDir + "/x": status, dpkgStatusDir + "/x.md5sums": list}, "/usr/app", "/app")
			return
		}
		requirePlausible(t, files{dpkgStatus: status, dpkgInfo + "/x.list": list, "/etc/os-release": list}, "/usr/app", "/app")
	})
}

func FuzzAPKDatabase(f *testing.F) {
	f.Add([]byte("P:x\nV:1\nF:usr\nR:app\n\nP:y\nR:app\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		costs.Bound(t, costs.Parsing(len(text)))
		requirePlausible(t, files{"/lib/apk/db/installed": text}, "/usr/app", "/app")
	})
}

func FuzzRPMDatabases(f *testing.F) {
	database := rpmFixture(f)
	f.Add(database, uint8(0))
	require.NoError(f, readRPMSQLite(newReader(database), func(header []byte) error {
		f.Add(ndbOf([][]byte{bytes.Clone(header)}), uint8(1))
		f.Add(bytes.Clone(header), uint8(3))
		return nil
	}))
	f.Fuzz(func(t *testing.T, database []byte, format uint8) {
		costs.Bound(t, costs.Parsing(len(database)))
		w := wanted{}
		w.add("/usr/lib64/libsmall.so.1")
		r := newReader(database)
		take := func(header []byte) error {
			return w.parseRPM(r.budget, header, func(_ string, p installed) { distro{}.purl("rpm", p) })
		}
		switch format % 4 {
		case 0:
			_ = readRPMSQLite(r, take)
		case 1:
			_ = readRPMNDB(r, take)
		case 2:
			_ = readRPMBerkeley(r, take)
		default:
			_ = take(database)
		}
	})
}
