// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package detect

import (
	"io/fs"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/zastava-otel/zastava/internal/test/oracle"
)

// invented is a file system whose answers are the bytes of a fuzzer: one per question decides what is there, and links lead where the text
// says.
type invented struct {
	answers []byte
	links   []string
	users   []string
	asked   int
}

const inventedRoot = "/host"

func (i *invented) next() byte {
	if len(i.answers) == 0 {
		return 0
	}
	i.asked++
	return i.answers[i.asked%len(i.answers)]
}

func (i *invented) Lstat(name string) (fs.FileInfo, error) {
	if name == inventedRoot {
		return file{path.Base(name), fs.ModeDir | 0o755}, nil
	}
	switch i.next() % 5 {
	case 0:
		return nil, fs.ErrNotExist
	case 1:
		return file{path.Base(name), fs.ModeSocket | 0o600}, nil
	case 2:
		return file{path.Base(name), fs.ModeSymlink | 0o777}, nil
	case 3:
		return nil, fs.ErrPermission
	default:
		return file{path.Base(name), fs.ModeDir | 0o755}, nil
	}
}

func (i *invented) Readlink(string) (string, error) {
	if len(i.links) == 0 {
		return "", fs.ErrInvalid
	}
	return i.links[int(i.next())%len(i.links)], nil
}

func (i *invented) ReadDir(string) ([]fs.DirEntry, error) {
	entries := make([]fs.DirEntry, 0, len(i.users))
	for _, name := range i.users {
		entries = append(entries, fs.FileInfoToDirEntry(file{name, fs.ModeDir | 0o755}))
	}
	return entries, nil
}

func (*invented) Pipe(string) bool { return false }

type file struct {
	name string
	mode fs.FileMode
}

func (f file) Name() string      { return f.name }
func (f file) Mode() fs.FileMode { return f.mode }
func (f file) IsDir() bool       { return f.mode.IsDir() }
func (file) Size() int64         { return 0 }
func (file) ModTime() time.Time  { return time.Time{} }
func (file) Sys() any            { return nil }

// FuzzDetection: whatever the host's file system contains, no endpoint is outside the root, and the search ends.
func FuzzDetection(f *testing.F) {
	f.Add([]byte{4, 1}, "/run", "1000\n1001")
	f.Add([]byte{2}, "../../../../etc\n/", "..")
	f.Add([]byte{4, 2, 1, 3, 0}, ".\n/run/user/../..", strings.Repeat("u\n", 300))
	f.Add([]byte("\x02\x02\x01"), "/../../../\n/", "\x81..")
	f.Fuzz(func(t *testing.T, answers []byte, links, users string) {
		bound := oracle.Parsing(len(answers) + len(links) + len(users))
		bound.CPU += 10 * time.Second // up to 528 sockets, each with up to 255 links
		bound.Bytes += 1 << 30
		oracle.Bound(t, bound)
		i := &invented{answers: answers, users: strings.Fields(users)}
		for link := range strings.SplitSeq(links, "\n") {
			if link != "" && !strings.Contains(link, "\x00") && len(link) < 4096 {
				i.links = append(i.links, link)
			}
		}
		for n, name := range i.users { // what a directory can contain
			i.users[n] = strings.ReplaceAll(path.Base("/"+name), "/", "_")
		}
		found, _ := Runtimes(i, Options{Root: inventedRoot, Users: true})
		for _, r := range found {
			assert.NotEmpty(t, r.Name)
			at, ok := strings.CutPrefix(r.Endpoint, "unix://")
			assert.True(t, ok, r.Endpoint)
			assert.True(t, strings.HasPrefix(at, inventedRoot+"/"), "%q is outside the root", at)
			assert.Equal(t, path.Clean(at), at)
		}
	})
}
