// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package packagedb

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestPURLs(t *testing.T) {
	d := parseOSRelease([]byte("NAME=\"Debian\"\nID=debian\nVERSION_ID=\"12\"\nbroken\n"))
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

func TestDpkg(t *testing.T) {
	packages := parseDpkgStatus([]byte(`Package: libc6
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
`))
	libc := installed{"libc6", "2.36-9", "amd64", ""}
	assert.Equal(t, map[string]installed{"libc6": libc, "libc6:amd64": libc, "last": {"last", "3", "all", ""}, "last:all": {"last", "3", "all", ""}}, packages)

	w := wanted{}
	w.add("/usr/lib/x/libc.so.6")
	w.add("/opt/app")
	var found []string
	take := func(path string) { found = append(found, path) }
	w.parseDpkgList([]byte("/.\n/lib\n/lib/x/libc.so.6\n/lib/x/libm.so.6\n"), take)
	w.parseMD5Sums([]byte("0123  lib/x/libc.so.6\nbroken\n4567  opt/app\n"), take)
	assert.Equal(t, []string{"/usr/lib/x/libc.so.6", "/usr/lib/x/libc.so.6", "/opt/app"}, found)
}

func TestAPK(t *testing.T) {
	w := wanted{}
	w.add("/lib/ld-musl-x86_64.so.1")
	w.add("/bin/busybox")
	found := map[string]installed{}
	w.parseAPK([]byte("C:Q1x=\nP:musl\nV:1.2.5-r0\nA:x86_64\nF:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\n\nP:busybox\nV:1.36\nA:x86_64\nF:bin\nR:busybox\nF:etc\nR:busybox\n"),
		func(path string, p installed) { found[path] = p })
	assert.Equal(t, map[string]installed{
		"/lib/ld-musl-x86_64.so.1": {"musl", "1.2.5-r0", "x86_64", ""},
		"/bin/busybox":             {"busybox", "1.36", "x86_64", ""},
	}, found)
}

func FuzzPackages(f *testing.F) {
	f.Add([]byte("Package: x\nVersion: 1\n\nP:x\nF:usr\nR:app\n0  usr/app\n"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		w := wanted{}
		w.add("/usr/app")
		d := parseOSRelease(text)
		for _, p := range parseDpkgStatus(text) {
			d.purl("deb", p)
		}
		w.parseDpkgList(text, func(string) {})
		w.parseMD5Sums(text, func(string) {})
		w.parseAPK(text, func(_ string, p installed) { d.purl("apk", p) })
	})
}
