// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"errors"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// tableAge is how long at most a process is assumed to be in the cgroup that was read; never longer than it was known before, as a
	// process joins its container's cgroup only after its creation. This decides only which processes to open: the cgroup of an open process
	// is read again. It saves reading a file of every process of the node for every sample.
	tableAge = 30 * time.Second
	// listAge is how long a listing is valid for other samples: many containers that start at once do not each list the node.
	listAge = 250 * time.Millisecond
	// maxTable limits the processes that are remembered. Of a node with more, only main processes are sure to be found.
	maxTable = 65_536
)

// table remembers which cgroup the processes of the node were in.
type table struct {
	procRoot string
	mu       sync.Mutex
	listed   time.Time
	turn     uint64 // counts the listings
	entries  map[int]tableEntry
	groups   map[string]*group   // by the text of their cgroup file
	below    map[cgroup][]*group // by each cgroup they are in or below
}

// group are the processes with one cgroup file.
type group struct {
	text string
	pids map[int]struct{}
}

// places returns the cgroups that the group is in or below, without the root of each hierarchy.
func (g *group) places() iter.Seq[cgroup] {
	return func(yield func(cgroup) bool) {
		seen := map[string]bool{} // only the first line of a hierarchy counts, as in membership.has
		for _, c := range cgroupsOf(g.text) {
			if seen[c.hierarchy] {
				continue
			}
			seen[c.hierarchy] = true
			for c.path != "" && c.path != "/" {
				if !yield(c) {
					return
				}
				c.path = c.path[:strings.LastIndexByte(c.path, '/')]
			}
		}
	}
}

type tableEntry struct {
	cgroup    string
	first, at time.Time // when it was first seen, and last read
	turn      uint64    // of the listing that had it last
}

func newTable(procRoot string) *table {
	return &table{procRoot: procRoot, entries: map[int]tableEntry{}, groups: map[string]*group{}, below: map[cgroup][]*group{}}
}

// candidates returns the pids, in order, of likely members by cgroup or pid namespace.
func (t *table) candidates(m membership) ([]int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); now.Sub(t.listed) > listAge {
		if err := t.list(now); err != nil {
			return nil, err
		}
		t.listed = now
	}
	var found []int
	if m.named() {
		for _, g := range t.below[m.cgroup] {
			found = slices.AppendSeq(found, maps.Keys(g.pids))
		}
	}
	if m.pidNamespace != "" {
		for pid := range t.entries {
			if pidNamespace(t.procRoot, pid) == m.pidNamespace {
				found = append(found, pid)
			}
		}
	}
	slices.Sort(found)
	return found, nil
}

// list reads the directory, and the cgroups of processes that are new or known for too long.
func (t *table) list(now time.Time) error {
	dir, err := os.Open(t.procRoot)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	t.turn++
	for {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			if pid := parsePID(name); pid != 0 {
				t.see(pid, name, now)
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
			t.remove(pid, entry.cgroup)
		}
	}
	return nil
}

// see records a process that is listed.
func (t *table) see(pid int, name string, now time.Time) {
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
		entry.at = now
		if !known || entry.cgroup != string(text) {
			t.remove(pid, entry.cgroup)
			entry.cgroup = t.join(pid, string(text))
		}
	}
	entry.turn = t.turn
	t.entries[pid] = entry
}

// join adds a process to its group, and returns the group's text of the cgroup file: one string for all its processes.
func (t *table) join(pid int, text string) string {
	g := t.groups[text]
	if g == nil {
		g = &group{text: text, pids: map[int]struct{}{}}
		t.groups[text] = g
		for c := range g.places() {
			t.below[c] = append(t.below[c], g)
		}
	}
	g.pids[pid] = struct{}{}
	return g.text
}

// remove removes a process from its group, and an empty group.
func (t *table) remove(pid int, text string) {
	g := t.groups[text]
	if g == nil {
		return
	}
	delete(g.pids, pid)
	if len(g.pids) > 0 {
		return
	}
	delete(t.groups, text)
	for c := range g.places() {
		if t.below[c] = slices.DeleteFunc(t.below[c], func(one *group) bool { return one == g }); len(t.below[c]) == 0 {
			delete(t.below, c)
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

// pidNamespace returns the name of a process's pid namespace; "" if it cannot be read.
func pidNamespace(procRoot string, pid int) string {
	name, err := os.Readlink(filepath.Join(procRoot, strconv.Itoa(pid), "ns", "pid"))
	if err != nil {
		return ""
	}
	return name
}
