// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseStatOfMisleadingName(t *testing.T) {
	rest := " S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0"
	for name, want := range map[string]string{"app": "app", "a) R 1 (b": "a) R 1 (b", "": "", "\xff": "?"} {
		s, err := parseStat([]byte("17 (" + name + ")" + rest))
		require.NoError(t, err)
		assert.Equal(t, stat{name: want, state: 'S', start: 4242}, s)
	}
	for _, bad := range []string{"", "17", "17 (x", "17 x) S", "17 (x) S 1 2", "17 (x) SS" + rest[2:], "17 (x)" + strings.Replace(rest, "4242", "-1", 1)} {
		_, err := parseStat([]byte(bad))
		assert.Error(t, err, bad)
	}
}

func TestParseArguments(t *testing.T) {
	args, cut := parseArguments([]byte("app\x00-v\x00\x00x\x00"))
	assert.Equal(t, []string{"app", "-v", "", "x"}, args)
	assert.False(t, cut)
	args, cut = parseArguments(nil)
	assert.Empty(t, args)
	assert.False(t, cut)
	args, cut = parseArguments([]byte(strings.Repeat("x", maxArgumentBytes)))
	assert.True(t, cut)
	assert.Len(t, args[0], maxArgument)
	args, cut = parseArguments([]byte(strings.Repeat("x\x00", maxArguments+1)))
	assert.True(t, cut)
	assert.Len(t, args, maxArguments)
}

func TestMembership(t *testing.T) {
	const id = "0123456789abcdef"
	for name, test := range map[string]struct {
		main    string
		named   bool
		inside  []string
		outside []string
	}{
		"version 2, systemd driver": {
			"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope\n", true,
			[]string{"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope\n", "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope/sub\n"},
			[]string{"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope2\n", "0::/\n", "0::/kubepods.slice/kubepods-pod1.slice\n"},
		},
		"moved below its own": {
			"0::/system.slice/docker-" + id + ".scope/init\n", true,
			[]string{"0::/system.slice/docker-" + id + ".scope/system.slice/x\n"},
			[]string{"0::/system.slice/docker-fff.scope/init\n"},
		},
		"seen from a cgroup namespace": {
			"0::/../../pod1/" + id + "\n", true,
			[]string{"0::/../../pod1/" + id + "/a\n"},
			[]string{"0::/../../pod1/" + id + "0\n"},
		},
		"version 1": {
			"3:pids:/k8s/" + id + "\n1:name=systemd:/\n0::/\n", true,
			[]string{"3:pids:/k8s/" + id + "\n1:name=systemd:/x\n0::/y\n"},
			[]string{"3:pids:/\n1:name=systemd:/k8s/" + id + "\n0::/\n", "2:cpu:/k8s/" + id + "\n"},
		},
		"no id in the name":  {"0::/system.slice/app.service\n", false, nil, []string{"0::/system.slice/app.service\n"}},
		"no cgroup":          {"", false, nil, []string{"", "0::/\n"}},
		"what is not a line": {":::\n0:\nx\n0::relative/" + id + "\n", false, nil, []string{":::\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := membershipOf(test.main, id)
			assert.Equal(t, test.named, m.named())
			for _, text := range test.inside {
				assert.True(t, m.has(text), text)
			}
			for _, text := range test.outside {
				assert.False(t, m.has(text), text)
			}
		})
	}
	assert.False(t, membershipOf("0::/a\n", "").named(), "no id is in every name")
}

func TestPIDDepth(t *testing.T) {
	assert.Equal(t, 2, pidDepth([]byte("Name:\tNSpid:\nNSpid:\t4242\t1\nNSsid:\t1\n")))
	assert.Equal(t, 1, pidDepth([]byte("NSpid:\t4242\n")))
	assert.Zero(t, pidDepth(nil))
}

func TestScriptOfShell(t *testing.T) {
	for want, args := range map[string][]string{
		"run.sh": {"/bin/sh", "-e", "/app/run.sh", "x"},
		"a":      {"busybox", "ash", "a"},
		"b.sh":   {"-bash", "b.sh"},
	} {
		assert.Equal(t, want, scriptOf(args))
	}
	for _, args := range [][]string{{"sh", "-c", "x.sh"}, {"tail", "x.sh"}, {"sh"}, {"busybox"}, {"sh", "-s", "x"}} {
		assert.Empty(t, scriptOf(args), args)
	}
}
