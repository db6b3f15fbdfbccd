// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// ioprioIdle is IOPRIO_CLASS_IDLE of ioprio_set(2).
const (
	ioprioWhoProcess = 1
	ioprioIdle       = 3 << 13
)

// worker is a thread that takes one sample after the other.
type worker struct {
	work  chan *inspection // closed: end
	ended chan struct{}
}

func startWorker() *worker {
	w := &worker{work: make(chan *inspection), ended: make(chan struct{})}
	go w.run()
	return w
}

// run takes samples. The thread's priorities are lowered permanently, so it is not returned to the Go runtime: a goroutine that ends while
// it is locked to its thread ends the thread.
func (w *worker) run() {
	defer close(w.ended)
	runtime.LockOSThread()
	// A failure to lower the priorities is ignored: the limit of CPU time holds anyway.
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 19)
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, 0, ioprioIdle)
	tid, s := unix.Gettid(), newScratch()
	for in := range w.work {
		in.run(tid, s)
		close(in.done)
	}
}

// workers keeps the idle workers. There are as many as samples are taken at once; one that hangs is no longer counted, and ends when it
// hangs no more.
type workers struct {
	mu     sync.Mutex
	idle   []*worker
	closed bool
}

// get returns an idle worker, or a new one; ErrClosed after close.
func (ws *workers) get() (*worker, error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.closed {
		return nil, ErrClosed
	}
	if n := len(ws.idle); n > 0 {
		w := ws.idle[n-1]
		ws.idle = ws.idle[:n-1]
		return w, nil
	}
	return startWorker(), nil
}

// put takes back a worker that does not hang.
func (ws *workers) put(w *worker) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.idle = append(ws.idle, w)
}

// close refuses further workers.
func (ws *workers) close() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.closed = true
}

// dismiss ends the idle workers, and waits for their ends.
func (ws *workers) dismiss() {
	ws.mu.Lock()
	idle := ws.idle
	ws.idle = nil
	ws.mu.Unlock()
	for _, w := range idle {
		close(w.work)
		<-w.ended
	}
}
