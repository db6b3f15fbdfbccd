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
	// startSlack is how much later than the run a main process may seem to have started: clocks are set, and the kernel rounds starts to a
	// hundredth of a second.
	startSlack = 5 * time.Second
	// startLead is how much earlier: the process exists before the runtime's hooks run, and the run is reported after them.
	startLead = time.Minute
)

// readProcesses reads the main process, then every other one.
func (in *inspection) readProcesses() {
	var main *process
	var err error
	in.do(func() { main, err = in.openMain() })
	if err != nil {
		in.skipProcess(in.target.PID, true, reasonOf(err))
		return
	}
	defer main.close()
	var roots []rootDir
	in.do(func() {
		if root, err := main.root(); err == nil {
			roots = append(roots, root)
		}
	})
	defer closeRoots(roots)
	var others []int
	in.do(func() { others, err = in.sampler.table.candidates(in.member) })
	if err != nil {
		others = nil // only the main process is known
	}
	in.readProcess(main, true, roots)
	visited := 1
	for _, pid := range others {
		if pid == main.pid {
			continue
		}
		if in.over() || visited >= in.sampler.config.Limits.Processes {
			in.skipProcess(pid, false, evidence.ReasonBudget)
			continue
		}
		visited++
		var p *process
		in.do(func() { p, err = openProcess(in.sampler.config.ProcRoot, pid, in.scratch) })
		if err != nil {
			in.skipProcess(pid, false, reasonOf(err))
			continue
		}
		if in.belongs(p) {
			in.readOther(p, roots)
		}
		p.close()
	}
}

func closeRoots(roots []rootDir) {
	for _, root := range roots {
		root.close()
	}
}

// readOther reads a process other than the main one. Its files get the names that they have in the root of the main process, or else in its
// own root.
func (in *inspection) readOther(p *process, mainRoots []rootDir) {
	roots := slices.Clone(mainRoots)
	in.do(func() {
		if root, err := p.root(); err == nil {
			roots = append(roots, root)
		}
	})
	defer closeRoots(roots[len(mainRoots):])
	in.readProcess(p, false, roots)
}

// errOtherProcess means that the pid belongs to another process by now.
var errOtherProcess = errors.New("the pid belongs to another process")

// openMain opens the process that the runtime named, and determines what makes other processes members of its container.
func (in *inspection) openMain() (*process, error) {
	p, err := openProcess(in.sampler.config.ProcRoot, in.target.PID, in.scratch)
	if err != nil {
		return nil, err
	}
	in.mainAt = p.startedAt()
	in.member = membershipOf(p.cgroup, in.target.ContainerID)
	if !in.member.named() && (in.target.Elsewhere || !in.startedWithTheRun()) {
		p.close()
		return nil, errOtherProcess
	}
	if !in.member.named() && p.nested() {
		in.member.pidNamespace = pidNamespace(in.sampler.config.ProcRoot, p.pid)
	}
	return p, nil
}

// startedWithTheRun reports whether the main process started when the runtime says that the run began; true if that is unknown.
func (in *inspection) startedWithTheRun() bool {
	at := in.target.StartedAt
	return at.IsZero() || (!in.mainAt.After(at.Add(startSlack)) && !in.mainAt.Before(at.Add(-startLead)))
}

// belongs reports whether an open process is one of the container's.
func (in *inspection) belongs(p *process) bool {
	if in.member.pidNamespace != "" {
		namespace, err := p.linked("ns/pid")
		return err == nil && namespace == in.member.pidNamespace
	}
	return in.member.has(p.cgroup)
}

// skipProcess counts a process that could not be read. The main process is listed in the sample even so.
func (in *inspection) skipProcess(pid int, main bool, reason evidence.Reason) {
	in.publish(func(s *evidence.Sample) {
		in.processes.Seen++
		skip(&in.processes, reason, 1)
		if main {
			s.Processes = append(s.Processes, unknownProcess(pid, main, reason))
		}
	})
}

// readProcess reads one process, and then the files that no process before it uses.
func (in *inspection) readProcess(p *process, main bool, roots []rootDir) {
	var (
		seen    = evidence.Process{PID: p.pid, Main: main, Name: p.stat.name, StartedAt: p.startedAt()}
		open    []openFile
		cut     bool
		same    bool
		running executable
		outside bool
	)
	in.do(func() {
		p.known = in.sampler.recall.get(p.key())
		news := in.arguments(p)
		seen.Arguments, seen.ArgumentsTruncated = p.known.arguments, p.known.truncated
		var err error
		running.file, running.name, running.deleted, err = p.executable(roots, time.Since(seen.StartedAt) < in.sampler.becoming)
		outside = errors.Is(err, errOutside)
		if seen.Executable = evidence.Present(running.name); err != nil {
			seen.Executable = evidence.Unknown[string](reasonOf(err))
		}
		var remapped bool
		if remapped, cut, err = in.mappings(p); err != nil {
			seen.Mappings = evidence.Unknown[int](reasonOf(err))
		} else {
			seen.Mappings = evidence.Present(len(p.mappings))
		}
		open, seen.OpenFiles = in.openFiles(p, p.known.script)
		if same = p.unchanged(in.member); same && (news || remapped) {
			in.sampler.recall.put(p.key(), p.known)
		}
	})
	if running.file != nil {
		defer running.file.close()
	}
	if !same || outside {
		in.skipProcess(p.pid, main, evidence.ReasonProcessGone)
		return
	}
	in.publish(func(s *evidence.Sample) {
		in.processes.Seen++
		if seen.Mappings.Status == evidence.StatusPresent {
			in.processes.Read++
		} else {
			skip(&in.processes, seen.Mappings.Reason, 1)
		}
		s.Coverage.MappingsTruncated = s.Coverage.MappingsTruncated || cut
		s.Processes = append(s.Processes, seen)
	})
	in.readFiles(p, running, open, roots)
}

// arguments reads cmdline, and the script of a shell from it, unless the text is the remembered one. news reports that it is not.
func (in *inspection) arguments(p *process) (news bool) {
	mode := in.sampler.config.Arguments
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
			list = in.sampler.redactor.Arguments(list)
		}
		known.arguments = evidence.Present(list)
	}
	return true
}
