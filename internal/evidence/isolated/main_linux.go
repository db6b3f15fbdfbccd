// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/moby/sys/reexec"
	"golang.org/x/sys/unix"

	"github.com/zastava-otel/zastava/internal/evidence/procfs"
	"github.com/zastava-otel/zastava/internal/limit"
)

// Name is what the process is called: its argv[0]. A program that links this package and is started under this name, through a symbolic
// link for example, or with this name as its first argument, is a sampler.
const Name = "zastava-sampler"

// The commands of the program, as its first argument.
const (
	commandConfine = "confine"  // give up what is not needed, then become commandServe
	commandServe   = "serve"    // take requests at the standard input
	commandListen  = "--listen" // wait at a socket and start a process for each connection
)

// The memory of the process beyond what it has when it starts. At the soft limit Go collects garbage more often; at the hard one it dies.
const (
	softMemory = 96 << 20
	hardMemory = 256 << 20
)

func init() {
	reexec.Register(Name, run)
	if reexec.Init() {
		os.Exit(0)
	}
	// `otelcol-zastava zastava-sampler --listen PATH`: an image from scratch has no symbolic link of that name.
	if len(os.Args) > 1 && os.Args[1] == Name {
		os.Args = os.Args[1:]
		run()
		os.Exit(0)
	}
}

// run is the whole program.
func run() {
	command := ""
	if len(os.Args) > 1 {
		command = os.Args[1]
	}
	var err error
	switch command {
	case commandConfine:
		err = confine()
	case commandServe:
		err = serveStandard()
	case commandListen:
		err = listen(os.Args[2:])
	default:
		err = fmt.Errorf("unknown command %q: use %s PATH", command, commandListen)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", Name, err)
		os.Exit(1)
	}
}

// serveStandard serves the collector at the other end of the pipes. It ends with its input only: a service manager that signals all
// processes of the collector must not end this one in the middle of a sample.
func serveStandard() error {
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGPIPE)
	runtime.GOMAXPROCS(concurrent) // Go's collector of garbage would use a quarter of all cores
	debug.SetMemoryLimit(softMemory)
	debug.SetTraceback("none")
	if err := limitMemory(hardMemory); err != nil {
		return err
	}
	seccomp := restrictSystemCalls() == nil
	return serve(os.Stdin, os.Stdout, inheritedFiles(), seccomp)
}

// server is the sampler's side of one connection.
type server struct {
	sampler *procfs.Sampler

	writing sync.Mutex
	out     io.Writer

	mu      sync.Mutex
	cancels map[uint64]context.CancelFunc
	work    sync.WaitGroup
}

// serve takes requests until the input ends.
func serve(in io.Reader, out io.Writer, files *fileMemory, seccomp bool) error {
	from := bufio.NewReader(in)
	var first hello
	// At a socket the other side may never say anything, while the next collector waits.
	silence := time.AfterFunc(welcomeTimeout, func() { os.Exit(1) })
	if err := readFrame(from, &first, maxRequestBytes); err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	silence.Stop()
	answer := welcome{Version: version, PID: os.Getpid(), Seccomp: seccomp}
	sampler, err := procfs.NewSampler(first.Config)
	if err != nil {
		answer.Error = err.Error()
	}
	if err := errors.Join(err, writeFrame(out, answer, maxRequestBytes)); err != nil {
		return err
	}
	files.load(sampler)
	s := &server{sampler: sampler, out: out, cancels: map[uint64]context.CancelFunc{}}
	err = s.take(from)
	// A sample that does not end shall not keep the process: nobody waits for it any more.
	time.AfterFunc(endTimeout, func() { os.Exit(1) })
	s.cancelAll()
	s.work.Wait()
	files.save(sampler)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, sampler.Close())
}

func (s *server) take(from io.Reader) error {
	for {
		var r request
		if err := readFrame(from, &r, maxRequestBytes); err != nil {
			return err
		}
		if r.Cancel {
			s.cancel(r.ID)
			continue
		}
		ctx := s.begin(r.ID)
		s.work.Go(func() { s.sample(ctx, r) })
	}
}

// begin remembers how to cancel a request. A collector has at most two under way, and procfs.Sampler takes no more at once.
func (s *server) begin(id uint64) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancels[id] = cancel
	return ctx
}

func (s *server) cancel(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cancel, ok := s.cancels[id]; ok {
		cancel()
	}
}

func (s *server) cancelAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cancel := range s.cancels {
		cancel()
	}
}

func (s *server) sample(ctx context.Context, r request) {
	sample, err := s.sampler.Sample(ctx, r.Target)
	s.cancel(r.ID)
	s.mu.Lock()
	delete(s.cancels, r.ID)
	s.mu.Unlock()
	answer := reply{ID: r.ID, Sample: sample, Stats: s.sampler.Stats()}
	if err != nil {
		answer.Error = err.Error()
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	err = writeFrame(s.out, answer, maxReplyBytes)
	if _, tooLarge := errors.AsType[*limit.Error](err); tooLarge {
		_ = writeFrame(s.out, reply{ID: r.ID, Sample: suspendedSample(r.Target), Stats: s.sampler.Stats()}, maxReplyBytes)
	}
}
