//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"testing"

	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/process"
)

// long tells that time is no matter: every version, both ways of looking, minutes of churn. `make e2e` sets it.
func long() bool { return os.Getenv("ZASTAVA_E2E") == "long" }

// setup is one way to observe one containerd.
type setup struct {
	release privateruntime.Release
	stream  string // as in the receiver's configuration
}

// setups are the ways in which everything must hold. The short form has Debian's containerd with and without its event
// stream, and the newest one with it.
func setups() []setup {
	s := []setup{{privateruntime.System(), "off"}, {privateruntime.System(), "auto"}, {privateruntime.Built2(), "auto"}}
	if long() {
		s = append(s, setup{privateruntime.Built2(), "off"}, setup{privateruntime.Built17(), "off"}, setup{privateruntime.Built17(), "auto"})
	}
	return s
}

// eachSetup runs a test once for every setup. Those whose containerd was not built are skipped.
func eachSetup(t *testing.T, test func(t *testing.T, on setup)) {
	for _, on := range setups() {
		t.Run("containerd="+on.release.Name+"/stream="+on.stream, func(t *testing.T) {
			test(t, setup{there(t, on.release), on.stream})
		})
	}
}

// eachContainerd runs a test once for every release.
func eachContainerd(t *testing.T, releases []privateruntime.Release, test func(t *testing.T, release privateruntime.Release)) {
	for _, r := range releases {
		t.Run("containerd="+r.Name, func(t *testing.T) { test(t, there(t, r)) })
	}
}

// there gives the release with its place, or skips the test.
func there(t *testing.T, r privateruntime.Release) privateruntime.Release {
	t.Helper()
	r, err := r.In(process.Root(t))
	if err != nil {
		t.Skip(err)
	}
	return r
}
