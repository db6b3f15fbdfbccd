// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/test/oracle"
)

func FuzzStat(f *testing.F) {
	const rest = " S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0"
	for _, name := range []string{"app", "a) R 1 (b", "", "\xff", "x\n17 (y"} {
		f.Add([]byte("17 (" + name + ")" + rest))
	}
	f.Add([]byte("17 (x) S 1 2"))
	f.Add([]byte("17 (x)" + strings.Replace(rest, "4242", "18446744073709551616", 1)))
	f.Fuzz(func(t *testing.T, text []byte) {
		oracle.Bound(t, oracle.Parsing(len(text)))
		s, err := parseStat(text)
		if err != nil {
			return
		}
		require.NotZero(t, s.state)
		assert.True(t, utf8.ValidString(s.name))
		// The kernel's own order: what follows the last parenthesis decides, whatever the name says.
		again, err := parseStat([]byte("1 (" + s.name + ")" + string(text[bytes.LastIndexByte(text, ')')+1:])))
		require.NoError(t, err)
		assert.Equal(t, s, again)
	})
}

func FuzzStatus(f *testing.F) {
	f.Add([]byte("Name:\tapp\nNSpid:\t17\t1\n"))
	f.Add([]byte("Name:\tNSpid: 1\nNSpid:"))
	f.Fuzz(func(t *testing.T, text []byte) {
		oracle.Bound(t, oracle.Parsing(len(text)))
		depth := pidDepth(text)
		assert.GreaterOrEqual(t, depth, 0)
		assert.LessOrEqual(t, depth, len(text))
	})
}

func FuzzCgroup(f *testing.F) {
	const id = "0123456789abcdef"
	f.Add("0::/kubepods.slice/cri-containerd-"+id+".scope\n", id, "0::/kubepods.slice/cri-containerd-"+id+".scope/sub\n")
	f.Add("3:pids:/k8s/"+id+"\n0::/\n", id, "3:pids:/k8s/"+id+" (deleted)\n")
	f.Add("0:::/"+id+":/\n0::relative", "/", ":::/\n")
	f.Fuzz(func(t *testing.T, main, id, other string) {
		oracle.Bound(t, oracle.Parsing(len(main)+len(id)+len(other)))
		m := membershipOf(main, id)
		if !m.named() {
			assert.False(t, m.has(other), "without a cgroup of its own, no other process belongs to the container")
			return
		}
		require.NotEmpty(t, id)
		assert.Contains(t, m.cgroup.path, id)
		assert.Contains(t, main, m.cgroup.path)
		if m.has(other) {
			assert.Contains(t, other, m.cgroup.path)
		}
	})
}

func FuzzCmdline(f *testing.F) {
	f.Add([]byte("app\x00-v\x00\x00x\x00"))
	f.Add([]byte("/bin/busybox\x00sh\x00-c\x00\xff\x00/run.sh"))
	f.Add([]byte("sh\x00--\x00-"))
	f.Fuzz(func(t *testing.T, text []byte) {
		text = text[:min(len(text), maxArgumentBytes)] // as it is read
		oracle.Bound(t, oracle.Parsing(len(text)))
		args, _ := parseArguments(text)
		require.LessOrEqual(t, len(args), maxArguments)
		for _, arg := range args {
			assert.LessOrEqual(t, len(arg), maxArgument)
			assert.True(t, utf8.ValidString(arg))
		}
		if len(args) > 0 {
			assert.NotContains(t, scriptOf(args), "/")
		}
	})
}
