// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Probe is the only program in the images that privateruntime builds: each
// command is one way for a container to live and end. It uses nothing but the
// standard library, because privateruntime compiles this file by itself. Where
// SIGTERM matters it writes "ready" once it is prepared for it.
//
//	pause                 live until SIGTERM or SIGINT, then exit 0 (also the pods' pause process)
//	sleep S [CODE]        live S seconds, exit CODE (default 0); SIGTERM ends it with 143
//	sleepms MS [CODE]     the same in milliseconds
//	stubborn              ignore SIGTERM and SIGINT: only SIGKILL ends it
//	exit N                exit N at once
//	segv                  die of SIGSEGV (exit code 139)
//	panic                 die of a Go panic (exit code 2)
//	oom [STEP]            allocate STEP MiB (default 8) each 10 ms until killed
//	forkoom N [STEP]      N children run "oom", this process lives on
//	fork N S              N children sleep S seconds, this process lives until SIGTERM
//	log N [WIDTH [MS]]    write N lines of WIDTH bytes, MS milliseconds apart
//	burn S                use a whole CPU for S seconds
//	flip FILE             exit 0 when FILE exists, else 1 (a health check to be switched)
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

func main() {
	args := os.Args[1:]
	if len(args) == 0 {
		args = []string{"pause"}
	}
	switch args[0] {
	case "pause":
		reapChildren()
		exitOnTerm(0)
		select {}
	case "sleep":
		sleep(time.Duration(number(args, 1, 3600))*time.Second, number(args, 2, 0))
	case "sleepms":
		sleep(time.Duration(number(args, 1, 50))*time.Millisecond, number(args, 2, 0))
	case "stubborn":
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
		fmt.Println("ready")
		sleepForever()
	case "exit":
		os.Exit(number(args, 1, 0))
	case "segv":
		segv()
	case "panic":
		panic("asked to")
	case "oom":
		eat(number(args, 1, 8))
	case "forkoom":
		fork(number(args, 1, 1), "oom", strconv.Itoa(number(args, 2, 8)))
	case "fork":
		fork(number(args, 1, 1), "sleep", strconv.Itoa(number(args, 2, 3600)))
	case "log":
		writeLines(number(args, 1, 10), number(args, 2, 80), time.Duration(number(args, 3, 0))*time.Millisecond)
	case "burn":
		exitOnTerm(143)
		burn(time.Duration(number(args, 1, 1)) * time.Second)
	case "flip":
		if len(args) < 2 {
			fail(usage, "flip needs a file")
		}
		if _, err := os.Stat(args[1]); err != nil {
			os.Exit(1)
		}
	default:
		fail(usage, "unknown command "+strconv.Quote(args[0]))
	}
}

func fail(code int, message string) {
	fmt.Fprintln(os.Stderr, "probe:", message)
	os.Exit(code)
}

// number is args[i], or def where there is none. A word that is no number is a
// mistake in the test that wrote it, so it ends the program.
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

// exitOnTerm is needed because the kernel gives a container's PID 1 no default
// action for SIGTERM: without a handler it would be ignored.
func exitOnTerm(code int) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		os.Exit(code)
	}()
	fmt.Println("ready")
}

// reapChildren collects what is reparented to a pause process that is PID 1.
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

// segv gives SIGSEGV back its default action and then touches a page without
// access. A signal that PID 1 sends to itself is dropped by the kernel when
// its action is the default; a fault is not.
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

// eat touches every page it asks for, so that the memory is really charged.
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
