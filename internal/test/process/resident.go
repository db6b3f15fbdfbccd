// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
)

// Resident returns the process's resident memory in MiB (VmRSS of proc_pid_status(5), so only on Linux), 0 when it has ended.
func (p *Process) Resident() float64 { return memoryOf(p.PID(), "VmRSS") }

// Peak returns the largest resident memory that a process has had, in MiB (VmHWM of proc_pid_status(5), so only on Linux). It fails the
// test if the process has ended.
func Peak(tb TB, pid int) float64 {
	tb.Helper()
	peak := memoryOf(pid, "VmHWM")
	if peak == 0 {
		tb.Fatalf("process %d has ended", pid)
	}
	return peak
}

// memoryOf returns one field of a process's status in MiB, 0 when it has ended.
func memoryOf(pid int, field string) float64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
		var kib float64
		if _, err := fmt.Sscanf(lines.Text(), field+": %g kB", &kib); err == nil {
			return kib / 1024
		}
	}
	return 0
}
