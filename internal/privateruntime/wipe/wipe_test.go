// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package wipe

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestParseMountsDecodesEscapes(t *testing.T) {
	mounts := parseMounts(`26 22 0:23 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
30 22 0:27 / /with\040space rw - tmpfs tmpfs rw
not a line of it
31 22 0:28 / /short -
`)
	assert.Equal(t, []mount{{"/sys/fs/cgroup/memory", "cgroup"}, {"/with space", "tmpfs"}}, mounts)
}

func TestWithinComparesWholeNames(t *testing.T) {
	assert.True(t, Within("/tmp/a", "/tmp/a"))
	assert.True(t, Within("/tmp/a/b", "/tmp/a"))
	assert.False(t, Within("/tmp/ab", "/tmp/a"))
}
