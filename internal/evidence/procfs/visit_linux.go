// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"errors"
	"hash/maphash"
	"slices"
	"time"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/redact"
)

const (
	// startSlack is how much later than the run a main process may seem to have started: clocks are set, and the kernel tells starts
	// to a hundredth of a second.
	startSlack = 5 * time.Second
	// startLead is how much earlier: the process is made before the runtime's hooks, and the run is told after them.
	startLead = time.Minute
)

// processesOfTheContainer visits the main process, then every other one.
func (l *look) processesOfTheContainer() {
	var main *process
	var err error
	l.do(func() { main, err = l.openMain() })
	if err != nil {
		l.lost(l.target.PID, true, reasonOf(err))
		return
	}
	defer main.close()
	var roots []rootDir
	l.do(func() {
		if root, err := main.root(); err == nil {
			roots = append(roots, root)
		}
	})
	defer closeRoots(roots)
	var others []int
	l.do(func() { others, err = l.sampler.table.candidates(l.member) })
	if err != nil {
		others = nil // the main process is what is known
	}
	l.visit(main, true, roots)
	visited := 1
	for _, pid := range others {
		if pid == main.pid {
			continue
		}
		if l.over() || visited >= l.sampler.config.Limits.Processes {
			l.lost(pid, false, evidence.ReasonBudget)
			continue
		}
		visited++
		var p *process
		l.do(func() { p, err = openProcess(l.sampler.config.ProcRoot, pid, l.scratch) })
		if err != nil {
			l.lost(pid, false, reasonOf(err))
			continue
		}
		if l.belongs(p) {
			l.visitOther(p, roots)
		}
		p.close()
	}
}

func closeRoots(roots []rootDir) {
	for _, root := range roots {
		root.close()
	}
}

// visitOther visits a process besides the main one. Its files are named as the main process would name them, and as itself does only
// where that says nothing.
func (l *look) visitOther(p *process, mainRoots []rootDir) {
	roots := slices.Clone(mainRoots)
	l.do(func() {
		if root, err := p.root(); err == nil {
			roots = append(roots, root)
		}
	})
	defer closeRoots(roots[len(mainRoots):])
	l.visit(p, false, roots)
}

// errOtherProcess: the pid is another process's by now.
var errOtherProcess = errors.New("the pid belongs to another process")

// openMain opens the process the runtime named, and finds out what makes others members of its container.
func (l *look) openMain() (*process, error) {
	p, err := openProcess(l.sampler.config.ProcRoot, l.target.PID, l.scratch)
	if err != nil {
		return nil, err
	}
	l.mainAt = p.startedAt()
	l.member = membershipOf(p.cgroup, l.target.ContainerID)
	if !l.member.named() && (l.target.Elsewhere || !l.startedWithTheRun()) {
		p.close()
		return nil, errOtherProcess
	}
	if !l.member.named() && p.nested() {
		l.member.pidNamespace = pidNamespace(l.sampler.config.ProcRoot, p.pid)
	}
	return p, nil
}

// startedWithTheRun says whether the main process started when the runtime says its run began, as far as that is known.
func (l *look) startedWithTheRun() bool {
	at := l.target.StartedAt
	return at.IsZero() || (!l.mainAt.After(at.Add(startSlack)) && !l.mainAt.Before(at.Add(-startLead)))
}

// belongs says whether a candidate, now that it is held, is one of the container's processes.
func (l *look) belongs(p *process) bool {
	if l.member.pidNamespace != "" {
		namespace, err := p.linked("ns/pid")
		return err == nil && namespace == l.member.pidNamespace
	}
	return l.member.has(p.cgroup)
}

// lost counts a process that could not be opened; of the main process it is worth a line in the sample too.
func (l *look) lost(pid int, main bool, reason evidence.Reason) {
	l.publish(func(s *evidence.Sample) {
		l.processes.Seen++
		skip(&l.processes, reason, 1)
		if main {
			s.Processes = append(s.Processes, unknownProcess(pid, main, reason))
		}
	})
}

// visit reads one process, and then the files it is the first to use.
func (l *look) visit(p *process, main bool, roots []rootDir) {
	var (
		seen    = evidence.Process{PID: p.pid, Main: main, Name: p.stat.name, StartedAt: p.startedAt()}
		open    []openFile
		cut     bool
		same    bool
		running executable
		outside bool
	)
	l.do(func() {
		p.known = l.sampler.recall.get(p.key())
		news := l.arguments(p)
		seen.Arguments, seen.ArgumentsTruncated = p.known.arguments, p.known.truncated
		var err error
		running.file, running.name, running.deleted, err = p.executable(roots, time.Since(seen.StartedAt) < l.sampler.becoming)
		outside = errors.Is(err, errOutside)
		if seen.Executable = evidence.Present(running.name); err != nil {
			seen.Executable = evidence.Unknown[string](reasonOf(err))
		}
		var remapped bool
		if remapped, cut, err = l.mappings(p); err != nil {
			seen.Mappings = evidence.Unknown[int](reasonOf(err))
		} else {
			seen.Mappings = evidence.Present(len(p.mappings))
		}
		open, seen.OpenFiles = l.openFiles(p, p.known.script)
		if same = p.unchanged(l.member); same && (news || remapped) {
			l.sampler.recall.put(p.key(), p.known)
		}
	})
	if running.file != nil {
		defer running.file.close()
	}
	if !same || outside {
		l.lost(p.pid, main, evidence.ReasonProcessGone)
		return
	}
	l.publish(func(s *evidence.Sample) {
		l.processes.Seen++
		if seen.Mappings.Status == evidence.StatusPresent {
			l.processes.Read++
		} else {
			skip(&l.processes, seen.Mappings.Reason, 1)
		}
		s.Coverage.MappingsTruncated = s.Coverage.MappingsTruncated || cut
		s.Processes = append(s.Processes, seen)
	})
	l.filesOf(p, running, open, roots)
}

// arguments reads cmdline, and of a shell's what script it was started with, unless the text is what it was. news: it is not.
func (l *look) arguments(p *process) (news bool) {
	mode := l.sampler.config.Arguments
	if mode == redact.ModeNone {
		return false
	}
	known := &p.known
	text, err := p.read("cmdline", maxArgumentBytes)
	if err != nil {
		known.cmdline, known.arguments, known.truncated, known.script = 0, evidence.Unknown[[]string](reasonOf(err)), false, ""
		return false
	}
	sum := maphash.Bytes(seed, text)
	if known.arguments.Status != evidence.StatusNone && known.cmdline == sum {
		return false
	}
	list, truncated := parseArguments(text)
	known.cmdline, known.arguments, known.truncated, known.script = sum, evidence.Absent[[]string](), truncated, ""
	if len(list) > 0 {
		known.script = scriptOf(list)
		if mode != redact.ModeFull {
			list = l.sampler.redactor.Arguments(list)
		}
		known.arguments = evidence.Present(list)
	}
	return true
}
