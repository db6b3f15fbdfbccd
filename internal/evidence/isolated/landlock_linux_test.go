// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const landlockVariable = "ZASTAVA_TEST_LANDLOCK_PID"

// TestLandlockForbidsToReadOtherProcesses is why the sampler has no Landlock domain: even one that restricts nothing of what a sampler
// does takes away the maps and the executable of every process outside of it (ptrace restrictions of landlock(7)), CAP_SYS_PTRACE or not.
func TestLandlockForbidsToReadOtherProcesses(t *testing.T) {
	if pid := os.Getenv(landlockVariable); pid != "" {
		readMapsInDomain(t, pid)
		return
	}
	version, _, _ := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if int(version) < 1 {
		t.Skip("the kernel has no Landlock")
	}
	target := sleeper(t)
	inside := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestLandlockForbidsToReadOtherProcesses$", "-test.v")
	inside.Env = append(os.Environ(), landlockVariable+"="+strconv.Itoa(target.PID))
	out, err := inside.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "PASS")
}

func readMapsInDomain(t *testing.T, pid string) {
	t.Helper()
	runtime.LockOSThread() // the domain is this thread's, which ends with the test
	require.NoError(t, dropCapabilities())
	maps := "/proc/" + pid + "/maps"
	_, err := os.ReadFile(maps)
	require.NoError(t, err, "without a domain")
	require.NoError(t, unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	rules := unix.LandlockRulesetAttr{Access_fs: unix.LANDLOCK_ACCESS_FS_MAKE_SYM}
	ruleset, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&rules)), unsafe.Sizeof(rules.Access_fs), 0)
	require.Zero(t, errno)
	_, _, errno = unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, 0)
	require.Zero(t, errno)
	_, err = os.ReadFile("/proc/self/maps")
	require.NoError(t, err, "its own")
	_, err = os.ReadFile(maps)
	require.ErrorIs(t, err, os.ErrPermission)
	_, err = os.Readlink("/proc/" + pid + "/exe")
	require.ErrorIs(t, err, os.ErrPermission)
}
