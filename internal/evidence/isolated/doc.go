// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package isolated samples containers in a process of its own, so that what a container controls can end that process and nothing
// else. It has the methods of procfs.Sampler.
//
//	collector: Sampler ──requests──► sampler process: procfs.Sampler ──► /proc
//	                   ◄──samples───
//
// It promises:
//
//   - a program that uses this package needs no second binary: the package starts the program itself again under the name
//     zastava-sampler (the reexec pattern), and its init function takes that process over before main runs;
//   - the process starts with the first sample and ends after a minute without one. What it knows of files is handed to the next;
//   - whatever ends the process (memory, CPU time, a crash, a signal) costs the samples under way. Their containers are not
//     sampled for a while, which grows with each end and survives restarts of the collector, and their facts are UNKNOWN budget;
//   - the process keeps three capabilities of those it had (CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH, CAP_CHECKPOINT_RESTORE), gets no
//     environment and no open file but its pipes and the memory that it hands on, and where the kernel has seccomp no system call that opens a
//     socket, starts a program or changes a file system. Where it has CAP_SETUID and CAP_SETGID it becomes a user that owns nothing, as
//     openat2 can open for writing what its user may write;
//   - what it answers is treated as foreign: bounded in bytes, nesting, items and digits, and only as many answers as there were requests.
//     An attacker who takes the process over can still answer what he likes about containers, and hand on what he likes about files
//     to processes that end as they should; after any other end nothing is handed on.
//
// It refuses to sample in the collector's own process when the other cannot be started. Landlock is not used: a process in a Landlock
// domain may not read the maps of processes outside of it (ptrace(2) rules of landlock(7)), which is what a sampler does.
package isolated
