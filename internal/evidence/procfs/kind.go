// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"bytes"
	"path"
	"strings"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// mappedByName reports whether a file is code by its name alone: a runtime of managed code maps its files for reading, and compiles them
// elsewhere.
func mappedByName(name []byte) bool {
	name = bytes.TrimSuffix(name, []byte(deletedMark))
	return len(name) > 4 && managedKind(lastFour(name)) != ""
}

// lastFour returns the bytes that managedKind needs.
func lastFour(name []byte) string { return string(name[max(0, len(name)-4):]) }

// managedKind returns the kind of a file of managed code by its name, "" for any other file.
func managedKind(name string) evidence.Kind {
	switch strings.ToLower(path.Ext(name)) {
	case ".jar", ".war", ".ear":
		return evidence.KindJar
	case ".dll", ".exe":
		return evidence.KindAssembly
	}
	return ""
}

// mappedKind returns the kind of a mapped file by its path in the container.
func mappedKind(name string) evidence.Kind {
	if kind := managedKind(name); kind != "" {
		return kind
	}
	dir, base := path.Split(name)
	within := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(dir, part) {
				return true
			}
		}
		return false
	}
	switch {
	case strings.HasSuffix(base, ".node"):
		return evidence.KindExtension
	case !strings.HasSuffix(base, ".so") && !strings.Contains(base, ".so."):
		return evidence.KindLibrary
	case within(".libs/") || strings.Contains(base, ".so."): // libraries that wheels bundle: numpy.libs/libopenblas….so
		return evidence.KindLibrary
	case strings.Contains(base, ".cpython-"), strings.Contains(base, ".abi3."), strings.Contains(base, ".pypy"),
		within("/lib-dynload/", "/site-packages/", "/dist-packages/"):
		return evidence.KindExtension
	case within("/ruby/", "/gems/", "/vendor_ruby/", "/site_ruby/") && !strings.HasPrefix(base, "lib"):
		return evidence.KindExtension
	}
	return evidence.KindLibrary
}
