// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package packagedb

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/limit"
)

func TestPURLOfDistributionPackage(t *testing.T) {
	d := newSearch(files{"/etc/os-release": []byte("NAME=\"Debian\"\nID=debian\nVERSION_ID=\"12\"\nbroken\n")}, limits).distro()
	assert.Equal(t, distro{"debian", "12"}, d)
	assert.Equal(t, "pkg:deb/debian/libc6@2.36-9%2Bdeb12u9?arch=amd64&distro=debian-12", d.purl("deb", installed{name: "libc6", version: "2.36-9+deb12u9", arch: "amd64"}))
	assert.Equal(t, "pkg:deb/debian/e2fsprogs@1:1.47~rc1", distro{}.purl("deb", installed{name: "e2fsprogs", version: "1:1.47~rc1"}))
	assert.Equal(t, "pkg:apk/alpine/busybox@1.36.1-r29?arch=x86_64", distro{}.purl("apk", installed{name: "busybox", version: "1.36.1-r29", arch: "x86_64"}))
	assert.Equal(t, "pkg:rpm/redhat/NetworkManager@1:1.2-3.el9?arch=x86_64&distro=rhel-9.4&epoch=1",
		distro{"rhel", "9.4"}.purl("rpm", installed{"NetworkManager", "1:1.2-3.el9", "x86_64", "1"}))
	assert.Equal(t, "pkg:rpm/opensuse/bash@5.2-1?distro=opensuse-leap-15.6", distro{"opensuse-leap", "15.6"}.purl("rpm", installed{name: "bash", version: "5.2-1"}))
	assert.Equal(t, "pkg:rpm/bash@5.2-1", distro{}.purl("rpm", installed{name: "bash", version: "5.2-1"}))
	assert.Empty(t, d.purl("deb", installed{version: "1"}))
	assert.Empty(t, d.purl("deb", installed{name: "x"}))
}

func TestDpkgDatabaseIsParsed(t *testing.T) {
	packages := map[string]installed{}
	s := newSearch(files{"/status": []byte(`Package: libc6
Status: install ok installed
Architecture: amd64
Description: GNU C Library
 Version: not this one
Version: 2.36-9

Package: gone
Status: deinstall ok config-files
Version: 1

Package: last
Status: install ok installed
Architecture: all
Version: 3
`)}, limits)
	require.NoError(t, s.eachPackageOf("/status", maxDatabaseBytes, func(p installed) bool {
		packages[p.name] = p
		return true
	}))
	assert.Equal(t, map[string]installed{"libc6": {"libc6", "2.36-9", "amd64", ""}, "last": {"last", "3", "all", ""}}, packages)

	w := wanted{}
	w.add("/usr/lib/x/libc.so.6")
	w.add("/opt/app")
	var found []string
	take := func(path string, ok bool) {
		if ok {
			found = append(found, path)
		}
	}
	for _, line := range []string{"/.", "/lib", "/lib/x/libc.so.6", "/lib/x/libm.so.6"} {
		take(w.find([]byte(line)))
	}
	for _, line := range []string{"0123  lib/x/libc.so.6", "broken", "4567  opt/app"} {
		take(w.findSum([]byte(line)))
	}
	assert.Equal(t, []string{"/usr/lib/x/libc.so.6", "/usr/lib/x/libc.so.6", "/opt/app"}, found)
}

func TestAPKDatabaseIsParsed(t *testing.T) {
	const path = "/lib/apk/db/installed"
	s := newSearch(files{path: []byte("C:Q1x=\nP:musl\nV:1.2.5-r0\nA:x86_64\nF:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\n\nP:busybox\nV:1.36\nA:x86_64\nF:bin\nR:busybox\nF:etc\nR:busybox\n")}, limits)
	s.wanted.add("/lib/ld-musl-x86_64.so.1")
	s.wanted.add("/bin/busybox")
	require.NoError(t, s.readAPK())
	assert.Equal(t, map[string]owner{
		"/lib/ld-musl-x86_64.so.1": {"apk", installed{"musl", "1.2.5-r0", "x86_64", ""}},
		"/bin/busybox":             {"apk", installed{"busybox", "1.36", "x86_64", ""}},
	}, s.owners)
}

// files is a Root of contents by name. A nil content cannot be read, and a name that ends in a slash is a directory.
type files map[string][]byte

var errUnreadable = errors.New("input/output error")

func (f files) ReadNames(dir string, _ int) (names []string, err error) {
	for name := range f {
		if rest, ok := strings.CutPrefix(name, dir+"/"); ok {
			names = append(names, rest)
		}
	}
	if names == nil {
		return nil, fs.ErrNotExist
	}
	return names, nil
}

type openFile struct{ *bytes.Reader }

func (openFile) Close() error { return nil }

func (f files) Open(name string) (File, error) {
	content, ok := f[name]
	switch {
	case !ok:
		return nil, fs.ErrNotExist
	case content == nil:
		return nil, errUnreadable
	}
	return openFile{bytes.NewReader(content)}, nil
}

func TestOwnersByDatabasesOfRoot(t *testing.T) {
	const (
		dpkgStatus = "Package: x\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n"
		apk        = "P:x\nV:1\nF:usr/bin\nR:x\n"
		path       = "/usr/bin/x"
	)
	status, lists := "/var/lib/dpkg/status", "/var/lib/dpkg/info/"
	for name, test := range map[string]struct {
		root files
		want string
		err  error
	}{
		"no database":        {files{}, "", nil},
		"dpkg":               {files{status: []byte(dpkgStatus), lists + "x.list": []byte(path)}, "pkg:deb/debian/x@1?arch=amd64", nil},
		"dpkg, by name:arch": {files{status: []byte(dpkgStatus), lists + "x:amd64.list": []byte(path)}, "pkg:deb/debian/x@1?arch=amd64", nil},
		"dpkg without lists": {files{status: []byte(dpkgStatus)}, "", ErrIncomplete},
		"dpkg unreadable":    {files{status: nil}, "", errUnreadable},
		"dpkg too large":     {files{status: make([]byte, maxDatabaseBytes+1)}, "", &limit.Error{Kind: limit.Bytes, Max: maxDatabaseBytes}},
		"dpkg, a list unreadable": {
			files{status: []byte(dpkgStatus), lists + "x.list": []byte(path), lists + "y.list": nil}, "pkg:deb/debian/x@1?arch=amd64", errUnreadable,
		},
		"status.d": {
			files{status + ".d/x": []byte("Package: x\nVersion: 2\n"), status + ".d/x.md5sums": []byte("0  usr/bin/x\n"), "/etc/os-release": []byte("ID=distroless\n")},
			"pkg:deb/distroless/x@2", nil,
		},
		"apk":               {files{"/lib/apk/db/installed": []byte(apk)}, "pkg:apk/alpine/x@1", nil},
		"apk, its new path": {files{"/usr/lib/apk/db/installed": []byte(apk)}, "pkg:apk/alpine/x@1", nil},
		"apk unreadable":    {files{"/lib/apk/db/installed": nil}, "", errUnreadable},
		"rpm beside dpkg":   {files{status: []byte(dpkgStatus), lists + "y.list": nil, "/var/lib/rpm/Packages": []byte("x")}, "", errUnreadable},
		"rpm unreadable":    {files{"/var/lib/rpm/rpmdb.sqlite": nil}, "", errUnreadable},
		"rpm invalid":       {files{"/var/lib/rpm/Packages": make([]byte, 512)}, "", ErrFormat},
	} {
		t.Run(name, func(t *testing.T) {
			owners, err := Owners(test.root, []string{path})
			if _, exceeded := errors.AsType[*limit.Error](test.err); exceeded {
				require.Equal(t, test.err, err)
			} else {
				require.ErrorIs(t, err, test.err)
			}
			assert.Equal(t, test.want, owners[path])
		})
	}
}
