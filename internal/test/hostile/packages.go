// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package hostile

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// PackageFiles are the files of a hostile package database by their path.
type PackageFiles map[string][]byte

// DpkgStanzas is a database without dpkg whose file for one package has as many packages as fit into it, and a list with every wanted path:
// a reader that matches the one with the other does their product.
func DpkgStanzas(wanted []string) PackageFiles {
	var list bytes.Buffer
	for _, path := range wanted {
		fmt.Fprintf(&list, "0  %s\n", path[1:])
	}
	return PackageFiles{
		"/var/lib/dpkg/status.d/x":         bytes.Repeat([]byte("Package:a\nV:1\n\n"), 297_000)[:4<<20-1],
		"/var/lib/dpkg/status.d/x.md5sums": list.Bytes(),
	}
}

// DpkgStatus is a dpkg database of a size in bytes, of packages with the shortest stanzas: a reader that keeps them takes ten times as much.
func DpkgStatus(size int) PackageFiles {
	var status bytes.Buffer
	for i := 0; status.Len() < size-64; i++ {
		fmt.Fprintf(&status, "Package:%x\nVersion:1\n\n", i)
	}
	return PackageFiles{"/var/lib/dpkg/status": status.Bytes(), "/var/lib/dpkg/info/0.list": []byte("/.\n")}
}

// DpkgLists is a dpkg database whose lists have the same wanted paths again and again, size bytes each.
func DpkgLists(wanted []string, lists, size int) PackageFiles {
	var list bytes.Buffer
	for list.Len() < size-512 {
		for _, path := range wanted[:min(len(wanted), 16)] {
			list.WriteString(path + "\n")
		}
	}
	all := PackageFiles{"/var/lib/dpkg/status": []byte("Package:0\nVersion:1\n\n")}
	for i := range lists {
		all[fmt.Sprintf("/var/lib/dpkg/info/%d.list", i)] = list.Bytes()
	}
	return all
}

// APKFiles is an apk database of one long directory with a million files: a reader that joins them copies gigabytes.
func APKFiles(size int) PackageFiles {
	var out bytes.Buffer
	out.WriteString("P:x\nV:1\nF:" + string(bytes.Repeat([]byte("d/"), 8<<10)) + "\n")
	out.Write(bytes.Repeat([]byte("R:x\n"), (size-out.Len())/4))
	return PackageFiles{"/lib/apk/db/installed": out.Bytes()}
}

// RPMFiles is an rpm database in the format ndb whose slots all refer to one header, of one long directory with a million files and without the
// name of its package.
func RPMFiles(dir string, size int) PackageFiles {
	header := rpmHeader(dir, size)
	le := binary.LittleEndian
	file := append([]byte("RpmP"), make([]byte, 4096-4)...)
	le.PutUint32(file[12:], 1)
	for i := 32; i < len(file); i += 16 {
		copy(file[i:], "Slot")
		le.PutUint32(file[i+4:], 1)
		le.PutUint32(file[i+8:], uint32(len(file)/16))
	}
	blob := append([]byte("BlbS"), make([]byte, 12)...)
	le.PutUint32(blob[4:], 1)
	le.PutUint32(blob[12:], uint32(len(header)))
	return PackageFiles{"/var/lib/rpm/Packages.db": append(append(file, blob...), header...)}
}

// rpmHeader is a header with thousands of tags before those of the files, which are all called x.
func rpmHeader(dir string, size int) []byte {
	const stringArray, int32s = 8, 4
	be := binary.BigEndian
	files := (size - 128<<10) / 6
	var tags, values []byte
	add := func(tag, kind uint32, count int, value []byte) {
		tags = be.AppendUint32(tags, tag)
		tags = be.AppendUint32(tags, kind)
		tags = be.AppendUint32(tags, uint32(len(values)))
		tags = be.AppendUint32(tags, uint32(count))
		values = append(values, value...)
	}
	for range 4_000 {
		add(1, 1, 0, nil)
	}
	add(1116, int32s, files, make([]byte, 4*files))
	add(1117, stringArray, files, bytes.Repeat([]byte("x\x00"), files))
	add(1118, stringArray, 1, []byte(dir+"\x00"))
	head := be.AppendUint32(nil, uint32(len(tags)/16))
	head = be.AppendUint32(head, uint32(len(values)))
	return append(append(head, tags...), values...)
}
