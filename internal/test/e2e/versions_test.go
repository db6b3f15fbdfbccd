//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"testing"

	"github.com/zastava-otel/zastava/internal/test/process"
	"github.com/zastava-otel/zastava/internal/test/realruntime"
)

// long reports whether to run the long tests: every version, with and without event stream, minutes of churn. `make e2e` sets the variable.
func long() bool { return os.Getenv("ZASTAVA_E2E") == "long" }

// setup is one way to observe one containerd.
type setup struct {
	release realruntime.Release
	stream  string // as in the receiver's configuration
}

// setups returns the setups to test. The short tests use Debian's containerd with and without its event stream, and the newest one with
// it.
func setups() []setup {
	s := []setup{{realruntime.System(), "off"}, {realruntime.System(), "auto"}, {realruntime.Containerd2(), "auto"}}
	if long() {
		s = append(s, setup{realruntime.Containerd2(), "off"}, setup{realruntime.Containerd17(), "off"}, setup{realruntime.Containerd17(), "auto"})
	}
	return s
}

// eachSetup runs a test once for every setup. Those whose containerd was not built are skipped.
func eachSetup(t *testing.T, test func(t *testing.T, on setup)) {
	for _, on := range setups() {
		t.Run("containerd="+on.release.Name+"/stream="+on.stream, func(t *testing.T) {
			test(t, setup{available(t, on.release), on.stream})
		})
	}
}

// eachContainerd runs a test once for every release.
func eachContainerd(t *testing.T, releases []realruntime.Release, test func(t *testing.T, release realruntime.Release)) {
	for _, r := range releases {
		t.Run("containerd="+r.Name, func(t *testing.T) { test(t, available(t, r)) })
	}
}

// available returns the release with the directory of its programs. It skips the test if they are not built.
func available(t *testing.T, r realruntime.Release) realruntime.Release {
	t.Helper()
	r, err := r.In(process.Root(t))
	if err != nil {
		t.Skip(err)
	}
	return r
}
