// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package packagedb

import (
	"bytes"
	"strings"
)

// wanted has the paths to find owners for, in each spelling that a database may use: by directory, which ends with a slash, then by name in
// it. So a database that lists directories and names apart is searched without joining them, which a long directory of a million names would
// make expensive.
type wanted map[string]names

// names has the wanted paths in one directory, as the kernel spells them, by name.
type names map[string]spelling

type spelling struct {
	path  string
	exact bool // the database spells it as the kernel does
}

// add adds a path. Where /lib is a link to /usr/lib, the kernel uses the one spelling and many packages still use the other.
func (w wanted) add(path string) {
	w.spell(path, spelling{path, true})
	if rest, ok := strings.CutPrefix(path, "/usr/"); ok {
		w.spell("/"+rest, spelling{path, false})
	} else {
		w.spell("/usr"+path, spelling{path, false})
	}
}

// spell adds a spelling, unless it is that of another wanted path already.
func (w wanted) spell(as string, s spelling) {
	slash := strings.LastIndexByte(as, '/')
	dir, name := as[:slash+1], as[slash+1:]
	if w[dir] == nil {
		w[dir] = names{}
	}
	if s.exact || !w[dir][name].exact {
		w[dir][name] = s
	}
}

// in returns the wanted paths in a directory, nil if there are none.
func (w wanted) in(dir []byte) names { return w[string(dir)] }

// find returns the wanted path that a database spells so.
func (w wanted) find(path []byte) (string, bool) {
	slash := bytes.LastIndexByte(path, '/')
	return w.in(path[:slash+1]).find(path[slash+1:])
}

func (n names) find(name []byte) (string, bool) {
	s, ok := n[string(name)]
	return s.path, ok
}
