//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/test/proxy"
)

// queue is the directory of the exporter's queue.
func (r *rig) queue() string { return filepath.Join(r.storage, "exporter_zastavabackend__logs") }

func (r *rig) files() []string {
	r.Helper()
	names, err := filepath.Glob(filepath.Join(r.queue(), "*.journal"))
	require.NoError(r, err)
	require.NotEmpty(r, names)
	return names
}

func (r *rig) faults(fault string) int {
	return int(r.metrics.Sum("otelcol_extension_zastavastorage_faults", `fault="`+fault+`"`))
}

// TestCollectorStartsWhenItsQueueIsBroken breaks the queue of a collector that was killed with a backlog of one event per request. The
// collector starts, and loses no more events than it reports.
func TestCollectorStartsWhenItsQueueIsBroken(t *testing.T) {
	n := either(100, 2000)
	for _, tt := range []struct {
		desc   string
		damage func(t *testing.T, r *rig)
		lost   func(r *rig) int
	}{
		{
			desc: "bits flipped",
			damage: func(t *testing.T, r *rig) {
				edit(t, r.files()[0], func(raw []byte) []byte {
					for range 5 {
						raw[rand.IntN(len(raw)*9/10)] ^= 1 << rand.IntN(8)
					}
					return raw
				})
			},
			lost: func(r *rig) int { return r.faults("damaged") },
		},
		{
			desc: "replaced by garbage",
			damage: func(t *testing.T, r *rig) {
				for _, name := range r.files() {
					edit(t, name, func(raw []byte) []byte { return bytes.Repeat([]byte("garbage\n"), len(raw)/8) })
				}
			},
			lost: func(r *rig) int {
				assert.Positive(r, r.faults("aside"))
				return n // an unreadable file does not show what was in it
			},
		},
		{
			desc: "truncated",
			damage: func(t *testing.T, r *rig) {
				names := r.files()
				info, err := os.Stat(names[len(names)-1])
				require.NoError(t, err)
				require.NoError(t, os.Truncate(names[len(names)-1], info.Size()*2/3+1))
			},
			lost: func(r *rig) int {
				assert.Positive(r, r.faults("torn")+r.faults("damaged"))
				return n*2/5 + 5 // the end of the last file, whose content is unknown
			},
		},
		{
			desc:   "emptied",
			damage: func(t *testing.T, r *rig) { require.NoError(t, os.Truncate(r.files()[0], 0)) },
			lost: func(r *rig) int {
				assert.Positive(r, r.faults("torn")+r.faults("damaged"))
				return n
			},
		},
	} {
		t.Run(tt.desc, func(t *testing.T) {
			r := newRig(t)
			r.proxy.Set(proxy.Refuse)
			r.start()
			r.feed(n, 1, nil)
			r.collector.Kill()
			tt.damage(t, r)
			r.start()
			r.feed(10, 2, nil)
			r.proxy.Set(proxy.Pass)
			r.drained()
			said := tt.lost(r)
			missing := r.check(said)
			t.Logf("%d of %d events lost, damaged %d, torn %d, set aside %d", missing, n+10, r.faults("damaged"), r.faults("torn"), r.faults("aside"))
		})
	}
}

func edit(tb testing.TB, name string, how func([]byte) []byte) {
	tb.Helper()
	raw, err := os.ReadFile(name)
	require.NoError(tb, err)
	require.NoError(tb, os.WriteFile(name, how(raw), 0o600))
}

// TestLockedQueueIsDeliveredOnceUnlocked starts a collector whose queue another process has locked. The queue's events arrive once it
// is unlocked.
func TestLockedQueueIsDeliveredOnceUnlocked(t *testing.T) {
	r := newRig(t)
	r.proxy.Set(proxy.Refuse)
	r.start()
	r.feed(50, 5, nil)
	r.collector.Kill()
	lock, err := os.OpenFile(filepath.Join(r.queue(), "lock"), os.O_RDWR, 0)
	require.NoError(t, err)
	defer lock.Close()
	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))

	r.start()
	assert.Equal(t, 1, r.faults("locked"))
	r.feed(50, 5, nil)
	r.collector.Kill()
	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_UN))
	r.proxy.Set(proxy.Pass)
	r.start()
	r.drained()
	r.check(0)
	assert.NoDirExists(t, r.queue()+".2", "the queue beside it was merged")
}

// onSmallDisk puts the queue on its own file system.
func onSmallDisk(size string) option {
	return func(r *rig, config string) string {
		r.Helper()
		mount := filepath.Join(r.dir, "disk")
		require.NoError(r, os.Mkdir(mount, 0o700))
		if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size="+size); err != nil {
			r.Skipf("cannot mount a small disk (needs root): %v", err)
		}
		r.Cleanup(func() { _ = syscall.Unmount(mount, syscall.MNT_DETACH) })
		r.storage = filepath.Join(mount, "storage")
		return config
	}
}

// TestAcceptedEventsArriveWhenTheDiskIsFull fills the disk under a backlog. Accepted events are delivered while the disk is full and
// after the collector was killed in this state. The source sends refused events again.
func TestAcceptedEventsArriveWhenTheDiskIsFull(t *testing.T) {
	r := newRig(t, onSmallDisk("8m"))
	r.proxy.Set(proxy.Refuse)
	r.start()
	r.feed(either(200, 2000), 3, nil)
	fill := filepath.Join(filepath.Dir(r.storage), "fill")
	fillUp := func() {
		f, err := os.OpenFile(fill, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		require.NoError(t, err)
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		require.NoError(t, f.Close())
	}
	fillUp()
	tries := 0
	free := func() {
		if tries++; tries == 5 {
			require.NoError(t, os.Remove(fill))
		}
	}
	r.feed(either(200, 2000), 20, free) // refused until there is room
	assert.GreaterOrEqual(t, tries, 5)

	fillUp()
	r.proxy.Set(proxy.Pass)
	r.drained() // with the disk full
	r.check(0)
	r.collector.Kill()
	r.start()
	r.drained()
	require.NoError(t, os.Remove(fill))
	r.feed(20, 5, nil)
	r.drained()
	r.check(0)
}

// TestBacklogIsDeliveredWhenTheDiskIsReadOnly starts a collector with a backlog on a disk that has become read-only. The backlog is
// delivered and new events are refused, until the disk can be written again.
func TestBacklogIsDeliveredWhenTheDiskIsReadOnly(t *testing.T) {
	r := newRig(t, onSmallDisk("8m"))
	r.proxy.Set(proxy.Refuse)
	r.start()
	r.feed(100, 5, nil)
	r.collector.Kill()
	mount := filepath.Dir(r.storage)
	require.NoError(t, syscall.Mount("", mount, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""))
	r.start()
	r.proxy.Set(proxy.Pass)
	r.drained()
	r.check(0)
	_, body := r.records(1)
	assert.False(t, r.try(body), "an event that cannot be stored is refused")
	r.next--
	r.collector.Kill() // it kept only in memory what it had delivered: it sends that again, and the backend knows the ids
	require.NoError(t, syscall.Mount("", mount, "", syscall.MS_REMOUNT|syscall.MS_BIND, ""))
	r.start()
	r.feed(20, 5, nil)
	r.drained()
	r.check(0)
}
