// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// ioprioIdle is IOPRIO_CLASS_IDLE of ioprio_set(2).
const (
	ioprioWhoProcess = 1
	ioprioIdle       = 3 << 13
)

// worker is a thread that takes samples, one after the other. There are as many as samples are taken at once; one that hangs is no
// longer counted, and ends when it hangs no more.
type worker struct {
	work  chan *look // closed: end
	ended chan struct{}
}

func startWorker() *worker {
	w := &worker{work: make(chan *look), ended: make(chan struct{})}
	go w.run()
	return w
}

// run takes samples. The thread's priorities are lowered for good, so it is not given back to the runtime: a goroutine that ends
// locked to its thread ends the thread.
func (w *worker) run() {
	defer close(w.ended)
	runtime.LockOSThread()
	// Failing to be humble is no reason to stop: the share of CPU time is kept all the same.
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 19)
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, 0, ioprioIdle)
	tid, s := unix.Gettid(), newScratch()
	for l := range w.work {
		l.run(tid, s)
		close(l.done)
	}
}

// worker gives one that is idle, or a new one. It is refused after Close.
func (s *Sampler) worker() (*worker, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if n := len(s.idle); n > 0 {
		w := s.idle[n-1]
		s.idle = s.idle[:n-1]
		return w, nil
	}
	return startWorker(), nil
}

// rest takes a worker back that does not hang.
func (s *Sampler) rest(w *worker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = append(s.idle, w)
}

// dismiss ends the idle workers, and waits for that.
func (s *Sampler) dismiss() {
	s.mu.Lock()
	idle := s.idle
	s.idle = nil
	s.mu.Unlock()
	for _, w := range idle {
		close(w.work)
		<-w.ended
	}
}
