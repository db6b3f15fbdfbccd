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
func (p *Process) Resident() float64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0
	}
	for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
		var kib float64
		if _, err := fmt.Sscanf(lines.Text(), "VmRSS: %g kB", &kib); err == nil {
			return kib / 1024
		}
	}
	return 0
}
