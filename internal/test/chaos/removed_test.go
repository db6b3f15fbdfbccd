//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/test/proxy"
)

// TestAcceptedEventsArriveWhenTheStorageIsRemoved removes the files of a running collector while the backend is away, in every way, lets
// events arrive, and kills it. What was accepted before and after arrives.
func TestAcceptedEventsArriveWhenTheStorageIsRemoved(t *testing.T) {
	for _, tt := range []struct {
		desc   string
		remove func(t *testing.T, r *rig)
	}{
		{"directory removed", func(t *testing.T, r *rig) { require.NoError(t, os.RemoveAll(r.storage)) }},
		{"content removed", func(t *testing.T, r *rig) {
			require.NoError(t, os.RemoveAll(r.storage))
			require.NoError(t, os.Mkdir(r.storage, 0o700))
		}},
		{"one file removed", func(t *testing.T, r *rig) { require.NoError(t, os.Remove(r.files()[0])) }},
		{"one file replaced", func(t *testing.T, r *rig) {
			name := r.files()[0]
			require.NoError(t, os.Rename(name, name+".bak"))
			require.NoError(t, os.WriteFile(name, []byte("of another program"), 0o600))
		}},
		{"directory renamed", func(t *testing.T, r *rig) { require.NoError(t, os.Rename(r.storage, r.storage+".old")) }},
		{"disk mounted over it", func(t *testing.T, r *rig) {
			if err := syscall.Mount("tmpfs", r.storage, "tmpfs", 0, "size=8m,mode=0700"); err != nil {
				t.Skipf("cannot mount a disk (needs root): %v", err)
			}
			t.Cleanup(func() { _ = syscall.Unmount(r.storage, syscall.MNT_DETACH) })
		}},
		{"pipe in place of the queue", func(t *testing.T, r *rig) {
			require.NoError(t, os.RemoveAll(r.queue()))
			require.NoError(t, syscall.Mkfifo(r.queue(), 0o600))
		}},
	} {
		for _, nothingArrives := range []bool{false, true} {
			name := "while events arrive"
			if nothingArrives {
				name = "while nothing arrives"
			}
			t.Run(tt.desc+"/"+name, func(t *testing.T) {
				r := newRig(t)
				r.proxy.Set(proxy.Refuse)
				r.start()
				r.feed(either(50, 1000), 5, nil)
				logged := r.logged()
				tt.remove(t, r)
				if !nothingArrives {
					r.feed(either(50, 1000), 5, nil)
				}
				r.await("the files to be written again", func() bool { return r.faults("removed") == 1 })
				r.feed(either(20, 100), 5, nil)
				r.collector.Kill()
				assert.Contains(t, logged(), "Files were removed, replaced or truncated while in use")
				assert.DirExists(t, r.queue())
				r.start()
				r.feed(10, 5, nil)
				r.proxy.Set(proxy.Pass)
				r.drained()
				r.check(0)
				assert.Zero(t, r.faults("damaged"))
			})
		}
	}
}

// TestTruncatedStorageLosesOnlyWhatIsCounted truncates the queue of a running collector.
func TestTruncatedStorageLosesOnlyWhatIsCounted(t *testing.T) {
	r := newRig(t)
	r.proxy.Set(proxy.Refuse)
	r.start()
	r.feed(either(50, 1000), 1, nil)
	info, err := os.Stat(r.files()[0])
	require.NoError(t, err)
	require.NoError(t, os.Truncate(r.files()[0], info.Size()*2/3))
	r.await("the loss to be counted", func() bool { return r.faults("removed") == 1 && r.faults("damaged") > 0 })
	lost := r.faults("damaged")
	r.collector.Kill() // before anything is written again by the queue itself
	r.start()
	r.feed(10, 1, nil)
	r.proxy.Set(proxy.Pass)
	r.drained()
	assert.Equal(t, lost, r.check(lost), "exactly the counted events are missing")
}

// TestQueueOfAnotherExporterIsSetAside gives an exporter the files of another one. The collector starts and reports it; back in their
// place, the files are delivered.
func TestQueueOfAnotherExporterIsSetAside(t *testing.T) {
	r := newRig(t)
	raw, err := os.ReadFile(r.config)
	require.NoError(t, err)
	configure := func(exporter string) {
		config := strings.ReplaceAll(string(raw), "zastavabackend:", exporter+":")
		require.NoError(t, os.WriteFile(r.config, []byte(strings.ReplaceAll(config, "[zastavabackend]", "["+exporter+"]")), 0o600))
	}
	r.proxy.Set(proxy.Refuse)
	r.start()
	r.feed(20, 5, nil)
	r.collector.Kill()
	other := filepath.Join(r.storage, "exporter_zastavabackend_other_logs")
	require.NoError(t, os.Rename(r.queue(), other))

	configure("zastavabackend/other")
	logged := r.logged()
	r.start()
	assert.Equal(t, 1, r.faults("foreign"))
	assert.Contains(t, logged(), "move it to the directory of that name")
	r.feed(20, 5, nil)
	r.proxy.Set(proxy.Pass)
	r.drained()
	assert.Equal(t, 20, r.check(20), "what the file contains is not sent by another exporter")
	r.collector.Kill()

	aside, err := filepath.Glob(filepath.Join(other, "*.foreign"))
	require.NoError(t, err)
	require.Len(t, aside, 1)
	require.NoError(t, os.Mkdir(r.queue(), 0o700))
	require.NoError(t, os.Rename(aside[0], filepath.Join(r.queue(), strings.TrimSuffix(filepath.Base(aside[0]), ".foreign"))))
	configure("zastavabackend")
	r.start()
	r.drained()
	r.check(0)
}
