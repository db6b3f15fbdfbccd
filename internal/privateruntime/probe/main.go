// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Probe is the only program in the images that privateruntime builds. Each command is one way for a container to run and end. It
// uses only the standard library, because privateruntime compiles this file by itself. A command for which SIGTERM matters writes
// "ready" once it handles the signal.
//
//	pause                 run until SIGTERM or SIGINT, then exit 0 (also the pods' pause process)
//	sleep S [CODE]        run S seconds, exit CODE (default 0); SIGTERM ends it with 143
//	sleepms MS [CODE]     the same in milliseconds
//	stubborn              ignore SIGTERM and SIGINT: only SIGKILL ends it
//	exit N                exit N at once
//	segv                  die of SIGSEGV (exit code 139)
//	panic                 die of a Go panic (exit code 2)
//	oom [STEP]            allocate STEP MiB (default 8) each 10 ms until killed
//	forkoom N [STEP]      N children run "oom", this process runs on
//	fork N S              N children sleep S seconds, this process runs until SIGTERM
//	log N [WIDTH [MS]]    write N lines of WIDTH bytes, MS milliseconds apart
//	burn S                use a whole CPU for S seconds
//	flip FILE             exit 0 when FILE exists, else 1 (a health check that a test switches)
package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

const (
	usage     = 64 // EX_USAGE of sysexits.h
	osFailure = 71 // EX_OSERR
)

// commands run until the process ends, or return for exit code 0. args[0] is the command itself.
var commands = map[string]func(args []string){
	"pause": func([]string) {
		reapChildren()
		exitOnTerm(0)
		select {}
	},
	"sleep":   func(args []string) { sleep(duration(args, 1, 3600, time.Second), number(args, 2, 0)) },
	"sleepms": func(args []string) { sleep(duration(args, 1, 50, time.Millisecond), number(args, 2, 0)) },
	"stubborn": func([]string) {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
		fmt.Println("ready")
		sleepForever()
	},
	"exit":    func(args []string) { os.Exit(number(args, 1, 0)) },
	"segv":    func([]string) { segv() },
	"panic":   func([]string) { panic("asked to") },
	"oom":     func(args []string) { eat(number(args, 1, 8)) },
	"forkoom": func(args []string) { fork(number(args, 1, 1), "oom", strconv.Itoa(number(args, 2, 8))) },
	"fork":    func(args []string) { fork(number(args, 1, 1), "sleep", strconv.Itoa(number(args, 2, 3600))) },
	"log": func(args []string) {
		writeLines(number(args, 1, 10), number(args, 2, 80), duration(args, 3, 0, time.Millisecond))
	},
	"burn": func(args []string) {
		exitOnTerm(143)
		burn(duration(args, 1, 1, time.Second))
	},
	"flip": flip,
}

func main() {
	args := os.Args[1:]
	if len(args) == 0 {
		args = []string{"pause"}
	}
	command, ok := commands[args[0]]
	if !ok {
		fail(usage, "unknown command "+strconv.Quote(args[0]))
	}
	command(args)
}

func fail(code int, message string) {
	fmt.Fprintln(os.Stderr, "probe:", message)
	os.Exit(code)
}

// number returns args[i], or def when there are fewer arguments. It ends the program when the argument is not a number: that is a
// mistake in the test.
func number(args []string, i, def int) int {
	if i >= len(args) {
		return def
	}
	n, err := strconv.Atoi(args[i])
	if err != nil {
		fail(usage, fmt.Sprintf("%s: argument %d is not a number: %q", args[0], i, args[i]))
	}
	return n
}

// duration is number in a unit.
func duration(args []string, i, def int, unit time.Duration) time.Duration {
	return time.Duration(number(args, i, def)) * unit
}

// flip exits with 1 unless the file exists.
func flip(args []string) {
	if len(args) < 2 {
		fail(usage, "flip needs a file")
	}
	if _, err := os.Stat(args[1]); err != nil {
		os.Exit(1)
	}
}

// exitOnTerm ends the program with this code at SIGTERM and SIGINT. The kernel ignores them for a container's PID 1 unless it has a
// handler.
func exitOnTerm(code int) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		os.Exit(code)
	}()
	fmt.Println("ready")
}

// reapChildren waits for the processes that are reparented to a pause process that is PID 1.
func reapChildren() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGCHLD)
	go func() {
		for range signals {
			for {
				pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
				if pid <= 0 && err != syscall.EINTR {
					break
				}
			}
		}
	}()
}

func sleep(d time.Duration, code int) {
	exitOnTerm(143)
	time.Sleep(d)
	os.Exit(code)
}

func sleepForever() {
	for {
		time.Sleep(time.Hour)
	}
}

// segv restores SIGSEGV's default action, which Go replaces, and then writes to a page without access. The kernel drops a signal with
// the default action that PID 1 sends to itself; it does not drop a fault.
func segv() {
	var byDefault [8]uint64 // larger than the kernel's struct sigaction on every architecture
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(syscall.SIGSEGV),
		uintptr(unsafe.Pointer(&byDefault[0])), 0, unsafe.Sizeof(uint64(0)), 0, 0)
	if errno != 0 {
		fail(osFailure, "rt_sigaction: "+errno.Error())
	}
	page, err := syscall.Mmap(-1, 0, os.Getpagesize(), syscall.PROT_NONE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		fail(osFailure, "mmap: "+err.Error())
	}
	page[0] = 1
}

// eat writes to every page that it allocates, so that the memory counts.
func eat(stepMiB int) {
	var kept [][]byte
	for {
		step := make([]byte, stepMiB<<20)
		for i := 0; i < len(step); i += os.Getpagesize() {
			step[i] = 1
		}
		kept = append(kept, step)
		fmt.Println("MiB held:", len(kept)*stepMiB)
		time.Sleep(10 * time.Millisecond)
	}
}

func fork(n int, command ...string) {
	exitOnTerm(0)
	for range n {
		child := exec.Command("/proc/self/exe", command...)
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		if err := child.Start(); err != nil {
			fail(osFailure, err.Error())
		}
		go func() { fmt.Println("child", child.Process.Pid, "ended:", child.Wait()) }()
	}
	sleepForever()
}

func writeLines(n, width int, pause time.Duration) {
	exitOnTerm(143)
	line := strings.Repeat("-", width)
	for i := range n {
		fmt.Println(i, line)
		time.Sleep(pause)
	}
}

func burn(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
	}
}
