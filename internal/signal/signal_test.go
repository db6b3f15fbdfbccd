// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestNameDependsOnPlatform(t *testing.T) {
	cases := []struct {
		os, arch string
		n        uint32
		want     string
	}{
		{"linux", "amd64", 10, "SIGUSR1"},
		{"linux", "arm64", 37, "SIGRTMIN+3"},
		{"linux", "amd64", 32, ""},
		{"linux", "amd64", 64, ""},
		{"linux", "amd64", 0, ""},
		{"linux", "mips64le", 10, ""}, // SIGBUS there
		{"linux", "mips64le", 16, ""},
		{"linux", "mips64le", 15, "SIGTERM"},
		{"windows", "amd64", 15, "SIGTERM"},
		{"windows", "amd64", 9, "SIGKILL"},
		{"windows", "amd64", 10, ""},
		{"freebsd", "amd64", 9, ""},
	}
	for _, c := range cases {
		assert.Equal(t, c.want, Name(c.os, c.arch, c.n), "%+v", c)
	}
	if runtime.GOOS == "linux" {
		assert.Equal(t, "SIGKILL", Name("", "", 9))
	}
}

func TestNumberParsesNamesAndNumbers(t *testing.T) {
	for s, want := range map[string]uint32{"9": 9, "KILL": 9, "SIGKILL": 9, "sigusr1": 10, "RTMIN+3": 37, "": 0, "SIG": 0, "128": 0, "-1": 0, "secret": 0} {
		assert.Equal(t, want, Number("linux", "amd64", s), s)
	}
	assert.Zero(t, Number("windows", "amd64", "SIGUSR1"))
	assert.EqualValues(t, 15, Number("windows", "amd64", "TERM"))
}

func TestFromExitCodeReturnsNamesOnLinuxOnly(t *testing.T) {
	assert.Equal(t, "SIGKILL", FromExitCode("linux", "amd64", 137))
	assert.Equal(t, "SIGTERM", FromExitCode("linux", "mips", 143))
	assert.Empty(t, FromExitCode("linux", "mips", 138))
	assert.Empty(t, FromExitCode("windows", "amd64", 137))
	for _, code := range []uint32{0, 1, 128, 128 + 64, 3221225786, 1<<32 - 1} {
		assert.Empty(t, FromExitCode("linux", "amd64", code), code)
	}
}

func TestRequestsTerminationOnlyForTerminatingSignals(t *testing.T) {
	for name, want := range map[string]bool{"SIGTERM": true, "SIGKILL": true, "SIGRTMIN+3": true, "SIGHUP": false, "SIGWINCH": false, "": false} {
		assert.Equal(t, want, RequestsTermination(name), name)
	}
}
