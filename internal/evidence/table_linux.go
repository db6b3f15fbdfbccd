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
	// listAge is how long a listing serves for other samples: many containers that start at once do not each list the node.
	listAge = 250 * time.Millisecond
	// maxTable bounds the processes remembered. Those of a node that has more are not found, but for each container's main one.
	maxTable = 65_536
)

// table remembers which cgroup the processes of the node were in.
type table struct {
	procRoot string
	mu       sync.Mutex
	listed   time.Time
	turn     uint64 // counts the listings
	entries  map[int]tableEntry
}

type tableEntry struct {
	cgroup    string
	first, at time.Time // when it was first seen, and last read
	turn      uint64    // in which listing it was seen last
}

func newTable(procRoot string) *table {
	return &table{procRoot: procRoot, entries: map[int]tableEntry{}}
}

// candidates gives the pids, in order, that the cgroup or the pid namespace makes likely members.
func (t *table) candidates(m membership) ([]int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); now.Sub(t.listed) > listAge {
		if err := t.list(now); err != nil {
			return nil, err
		}
		t.listed = now
	}
	member := map[string]bool{}
	var found []int
	for pid, entry := range t.entries {
		is, asked := member[entry.cgroup]
		if !asked {
			is = m.has(entry.cgroup)
			member[entry.cgroup] = is
		}
		if is || (m.pidNamespace != "" && pidNamespace(t.procRoot, pid) == m.pidNamespace) {
			found = append(found, pid)
		}
	}
	slices.Sort(found)
	return found, nil
}

// list reads the directory, and the cgroup of the processes that it does not know well enough.
func (t *table) list(now time.Time) error {
	dir, err := os.Open(t.procRoot)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	t.turn++
	texts := map[string]string{} // one string for all processes of a cgroup
	for {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			if pid := parsePID(name); pid != 0 {
				t.see(pid, name, now, texts)
			}
		}
		if errors.Is(err, io.EOF) || (err == nil && len(names) == 0) {
			break
		}
		if err != nil {
			return err
		}
	}
	for pid, entry := range t.entries {
		if entry.turn != t.turn {
			delete(t.entries, pid)
		}
	}
	return nil
}

// see takes note of a process that is listed.
func (t *table) see(pid int, name string, now time.Time, texts map[string]string) {
	entry, known := t.entries[pid]
	if !known && len(t.entries) >= maxTable {
		return
	}
	if !known || now.Sub(entry.at) > min(tableAge, entry.at.Sub(entry.first)) {
		text, err := readSmall(filepath.Join(t.procRoot, name, "cgroup"), maxCgroupBytes)
		if err != nil {
			return
		}
		if !known {
			entry.first = now
		}
		if entry.at = now; entry.cgroup != string(text) {
			if entry.cgroup, known = texts[string(text)]; !known {
				entry.cgroup = string(text)
				texts[entry.cgroup] = entry.cgroup
			}
		}
	}
	entry.turn = t.turn
	t.entries[pid] = entry
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
