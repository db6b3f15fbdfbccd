// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	// tableAge is how long at most a process is taken to be in the cgroup it was seen in; never longer than it was known before,
	// as a process joins its container's cgroup only after it was made. Only the choice of processes to open rests on it: whatever
	// is opened is asked again. It saves reading a file of every process of the node for every sample.
	tableAge = 30 * time.Second
	// maxTable bounds the processes remembered; a node with more reads the rest anew each time.
	maxTable = 65_536
)

// table remembers which cgroup the processes of the node were in.
type table struct {
	procRoot string
	mu       sync.Mutex
	entries  map[int]tableEntry
	texts    map[string]string // one string for all processes of a cgroup
}

type tableEntry struct {
	cgroup    string
	first, at time.Time // when it was first seen, and last read
}

func newTable(procRoot string) *table {
	return &table{procRoot: procRoot, entries: map[int]tableEntry{}}
}

// candidates gives the pids, in order, that the cgroup or the pid namespace makes likely members. It reads the directory each
// time, and the cgroup of those it does not know.
func (t *table) candidates(m membership) ([]int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	dir, err := os.Open(t.procRoot)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	now := time.Now()
	old := t.entries
	t.entries, t.texts = make(map[int]tableEntry, len(old)), map[string]string{}
	member := map[string]bool{}
	var found []int
	for {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			pid := parsePID(name)
			if pid == 0 {
				continue
			}
			entry, known := old[pid]
			if !known || now.Sub(entry.at) > min(tableAge, entry.at.Sub(entry.first)) {
				text, err := readSmall(filepath.Join(t.procRoot, name, "cgroup"), maxCgroupBytes)
				if err != nil {
					continue
				}
				if !known {
					entry.first = now
				}
				entry.cgroup, entry.at = string(text), now
			}
			if shared, ok := t.texts[entry.cgroup]; ok {
				entry.cgroup = shared
			} else {
				t.texts[entry.cgroup] = entry.cgroup
			}
			if len(t.entries) < maxTable {
				t.entries[pid] = entry
			}
			if _, asked := member[entry.cgroup]; !asked {
				member[entry.cgroup] = m.has(entry.cgroup)
			}
			if member[entry.cgroup] || m.pidNamespace != "" && pidNamespace(t.procRoot, pid) == m.pidNamespace {
				found = append(found, pid)
			}
		}
		if errors.Is(err, io.EOF) || (err == nil && len(names) == 0) {
			slices.Sort(found)
			return found, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func readSmall(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, limit))
}

// pidNamespace names a process's pid namespace; "" = it cannot be had.
func pidNamespace(procRoot string, pid int) string {
	name, err := os.Readlink(filepath.Join(procRoot, strconv.Itoa(pid), "ns", "pid"))
	if err != nil {
		return ""
	}
	return name
}
