// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/storagetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/test/oracle"
	"github.com/zastava-otel/zastava/internal/tracker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var seen = time.Date(2026, 5, 6, 7, 8, 9, 10, time.UTC)

func client() *storagetest.TestClient {
	return storagetest.NewInMemoryClient(component.KindReceiver, component.MustNewID("criobserver"), "test")
}

// typical is a container of a Kubernetes node whose latest run failed.
func typical(n int) *tracker.Known {
	digest := strings.Repeat("ab", 32)
	return &tracker.Known{
		Container: &container.Container{
			Engine: "containerd", Runtime: "main", ID: fmt.Sprintf("%064x", n), Name: "api", CreatedAt: seen, Attempt: 3,
			Pod: container.Pod{SandboxID: strings.Repeat("cd", 32), Namespace: "payments", Name: "api-7c9fbbd8b7-ktd84", UID: "0c1e7a80-7a0e-4a5f-9f4e-2b6d1f0a9c3d"},
			Image: container.Image{
				Reference: "ghcr.io/acme/payments/api:1.8.2", ID: "sha256:" + digest, ManifestDigest: "sha256:" + digest,
			},
		},
		State: container.StateExited, RestartCount: 3, Revision: 1,
		Run:       container.Run{StartedAt: seen, FinishedAt: seen.Add(time.Second), ExitCode: 137, ExitKnown: true, Reason: "OOMKilled", OOMKilled: true, PID: 123456},
		CrashLoop: &tracker.CrashLoop{Ends: []tracker.FailedEnd{{At: seen, ExitCode: 137, Reason: "OOMKilled"}}, Count: 1},
	}
}

func change(k *tracker.Known) tracker.Change { return tracker.Change{ID: k.Container.ID, Next: k} }

func TestSaveAndLoad(t *testing.T) {
	ctx, c := t.Context(), client()
	s := New(c, "boot-1")
	r, err := s.Load(ctx)
	require.NoError(t, err)
	assert.True(t, r.Seen.IsZero(), "there is no checkpoint")
	var changes []tracker.Change
	for n := range 200 {
		changes = append(changes, change(typical(n)))
	}
	require.NoError(t, s.Save(ctx, changes, seen))
	require.NoError(t, s.Save(ctx, []tracker.Change{{ID: fmt.Sprintf("%064x", 7)}}, seen.Add(time.Minute)))

	s = New(c, "boot-2")
	r, err = s.Load(ctx)
	require.NoError(t, err)
	assert.Len(t, r.Containers, 199)
	assert.Equal(t, seen.Add(time.Minute), r.Seen)
	assert.Equal(t, "boot-1", r.BootID)
	assert.Equal(t, typical(8), r.Containers[fmt.Sprintf("%064x", 8)])
	require.NoError(t, s.Save(ctx, nil, seen))
	r, err = New(c, "boot-3").Load(ctx)
	require.NoError(t, err)
	assert.Equal(t, "boot-2", r.BootID)
	assert.Equal(t, seen, r.Seen, "the clock was set back")
	assert.Len(t, r.Containers, 199)
}

func TestRecordFitsAndKeepsWhatMatters(t *testing.T) {
	raw, err := encode(typical(1))
	require.NoError(t, err)
	assert.LessOrEqual(t, len(raw), MaxRecord)
	whole := typical(1)
	k, err := decode(whole.Container.ID, meta{Engine: "containerd", Runtime: "main"}, raw)
	require.NoError(t, err)
	assert.Equal(t, whole, k, "a typical record is complete")

	big := typical(1)
	big.Container.Labels = map[string]string{"app": strings.Repeat("x", 5000)}
	big.Container.Image.Reference = strings.Repeat("y", 3000)
	big.Run.Reason = strings.Repeat("z", 3000)
	raw, err = encode(big)
	require.NoError(t, err)
	assert.LessOrEqual(t, len(raw), MaxRecord)
	k, err = decode("x", meta{}, raw)
	require.NoError(t, err)
	assert.Equal(t, big.Run.StartedAt, k.Run.StartedAt, "what ids and transitions depend on is never omitted")
	assert.Equal(t, big.Container.CreatedAt, k.Container.CreatedAt)
}

// longest is a container, in an active crash loop, whose texts are as long as the limit of what is read from a runtime.
func longest() *tracker.Known {
	k, long := typical(1), strings.Repeat("x", 4096)
	c := k.Container
	c.Name, c.Platform.OS = long, long
	c.Pod = container.Pod{SandboxID: long, Namespace: long, Name: long, UID: long}
	c.Compose = container.Compose{Project: long, Service: long, Number: long}
	c.Image = container.Image{Reference: long, ID: long, RepoDigests: []string{long}, ManifestDigest: long}
	c.Labels, c.Annotations = map[string]string{long: long}, map[string]string{long: long}
	most := uint32(math.MaxUint32)
	k.RestartCount, k.Revision, k.Pauses, k.OOMs, k.Healths, k.Health = most, most, most, most, most, long
	k.Run.PID, k.Run.ExitCode, k.Run.Reason, c.Attempt = most, most, long, most
	k.CrashLoop = &tracker.CrashLoop{Count: most, Active: true}
	for range 100 {
		k.CrashLoop.Ends = append(k.CrashLoop.Ends, tracker.FailedEnd{At: seen, ExitCode: most, Reason: long})
	}
	return k
}

func TestRecordNeverExceedsItsLimit(t *testing.T) {
	tests := map[string]func(*tracker.Known){
		"the longest names that Kubernetes allows": func(k *tracker.Known) {
			k.Container.Name, k.Container.Platform.OS = strings.Repeat("c", 63), "linux"
			k.Container.Pod.Namespace, k.Container.Pod.Name = strings.Repeat("n", 63), strings.Repeat("p", 253)
		},
		"longer than anything": func(k *tracker.Known) { *k = *longest() },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			k := typical(1)
			change(k)
			raw, err := encode(k)
			require.NoError(t, err)
			assert.LessOrEqual(t, len(raw), MaxRecord)
			got, err := decode(k.Container.ID, meta{}, raw)
			require.NoError(t, err)
			assert.Equal(t, k.State, got.State)
			assert.Equal(t, k.Run.StartedAt, got.Run.StartedAt)
			assert.Equal(t, k.Run.ExitCode, got.Run.ExitCode)
			assert.Equal(t, k.Container.CreatedAt, got.Container.CreatedAt)
			assert.Equal(t, k.Container.Attempt, got.Container.Attempt)
			if len(k.Container.Name) < 100 {
				assert.Equal(t, k.Container.Identity(), got.Container.Identity(), "by which a restart is recognized")
			}
		})
	}
}

// TestActiveCrashLoopKeepsItsUsualEnd stores more ends than a record has room for.
func TestActiveCrashLoopKeepsItsUsualEnd(t *testing.T) {
	k := typical(1)
	k.CrashLoop = &tracker.CrashLoop{Count: 20, Active: true}
	for n := range 8 {
		k.CrashLoop.Ends = append(k.CrashLoop.Ends, tracker.FailedEnd{At: seen.Add(time.Duration(n) * time.Minute), ExitCode: 137, Reason: "OOMKilled"})
	}
	k.CrashLoop.Ends[7].ExitCode, k.CrashLoop.Ends[7].Reason = 1, "Error"
	raw, err := encode(k)
	require.NoError(t, err)
	assert.LessOrEqual(t, len(raw), MaxRecord)
	got, err := decode("id", meta{}, raw)
	require.NoError(t, err)
	assert.True(t, got.CrashLoop.Active)
	assert.EqualValues(t, 20, got.CrashLoop.Count)
	assert.Equal(t, tracker.FailedEnd{At: seen.Add(7 * time.Minute), ExitCode: 137, Reason: "OOMKilled"}, got.CrashLoop.Dominant())
}

func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a-z0-9:/.@-]{0,20}`)
		ns := rapid.Int64Range(earliest, 1<<62)
		k := typical(1)
		k.Container.ID = "id"
		k.Container.Engine, k.Container.Runtime = "", ""
		k.Container.Name = text.Draw(t, "name")
		k.Container.Pod.SandboxID = text.Draw(t, "sandbox")
		k.Container.Image.ID = text.Draw(t, "image id")
		k.Container.CreatedAt = time.Unix(0, ns.Draw(t, "created")).UTC()
		k.Run.ExitCode = rapid.Uint32().Draw(t, "code")
		k.Run.ExitKnown = rapid.Bool().Draw(t, "known")
		if !k.Run.ExitKnown {
			k.Run.ExitCode = 0
		}
		raw, err := encode(k)
		require.NoError(t, err)
		got, err := decode("id", meta{}, raw)
		require.NoError(t, err)
		require.Equal(t, k, got)
	})
}

func TestUnreadableCheckpointIsSetAside(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(s *Store) *storage.Operation
		valid int // containers that are still good
		msg   string
	}{
		{"garbage", func(*Store) *storage.Operation { return storage.SetOperation(metaKey, []byte("\x00\x01")) }, 0, "set aside as"},
		{"of another program", func(*Store) *storage.Operation {
			return storage.SetOperation(metaKey, []byte(`{"kind":"other","version":1}`))
		}, 0, `of kind "other"`},
		{"newer", func(*Store) *storage.Operation {
			return storage.SetOperation(metaKey, []byte(`{"kind":"zastava.checkpoint","version":2,"generation":"x"}`))
		}, 0, "version 2"},
		{"more segments than a node can have", func(*Store) *storage.Operation {
			return storage.SetOperation(metaKey, []byte(`{"kind":"zastava.checkpoint","version":1,"generation":"x","segments":4611686018427387904}`))
		}, 0, "set aside as"},
		{"one container damaged", func(s *Store) *storage.Operation {
			return storage.SetOperation(s.containerKey(fmt.Sprintf("%064x", 1)), []byte(`{"st":`))
		}, 2, "container"},
		{"one container in a state that does not exist", func(s *Store) *storage.Operation {
			return storage.SetOperation(s.containerKey(fmt.Sprintf("%064x", 1)), []byte(`{"st":99}`))
		}, 2, "no state 99"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, c := t.Context(), client()
			s := New(c, "boot")
			require.NoError(t, s.Save(ctx, []tracker.Change{change(typical(0)), change(typical(1)), change(typical(2))}, seen))
			require.NoError(t, c.Batch(ctx, tt.spoil(s)))

			s = New(c, "boot")
			r, err := s.Load(ctx)
			require.ErrorContains(t, err, tt.msg)
			assert.Len(t, r.Containers, tt.valid)
			require.NoError(t, s.Save(ctx, []tracker.Change{change(typical(5))}, seen))

			r, err = New(c, "boot").Load(ctx)
			require.NoError(t, err, "reported once")
			assert.Len(t, r.Containers, tt.valid+1)
		})
	}
}

func TestCheckpointOfAnotherEndpointIsSetAside(t *testing.T) {
	ctx, c := t.Context(), client()
	require.NoError(t, New(c, "boot").Save(ctx, []tracker.Change{change(typical(0))}, seen)) // as versions did that wrote no endpoint
	s := New(c, "boot").WithEndpoint("/run/a.sock")
	r, err := s.Load(ctx)
	require.NoError(t, err)
	assert.Len(t, r.Containers, 1)
	require.NoError(t, s.Save(ctx, []tracker.Change{change(typical(1))}, seen))

	s = New(c, "boot").WithEndpoint("/run/b.sock")
	r, err = s.Load(ctx)
	require.ErrorContains(t, err, "set aside as")
	require.ErrorContains(t, err, "/run/a.sock")
	assert.Empty(t, r.Containers)
	assert.True(t, r.Seen.IsZero())
	require.NoError(t, s.Save(ctx, []tracker.Change{change(typical(2))}, seen))
	r, err = New(c, "boot").WithEndpoint("/run/b.sock").Load(ctx)
	require.NoError(t, err, "reported once")
	assert.Len(t, r.Containers, 1)
	assert.Contains(t, r.Containers, typical(2).Container.ID)
}

func TestMissingAndHostilePartsAreReportedOnce(t *testing.T) {
	id := func(n int) string { return typical(n).Container.ID }
	for desc, tt := range map[string]struct {
		spoil func(s *Store) []*storage.Operation
		valid int
		msg   string
	}{
		"a segment is missing": {
			func(s *Store) []*storage.Operation {
				return []*storage.Operation{storage.DeleteOperation(s.segmentKey(0))}
			},
			36, "segment 0 of the checkpoint is missing",
		},
		"all segments are missing": {
			func(s *Store) []*storage.Operation {
				return []*storage.Operation{storage.DeleteOperation(s.segmentKey(0)), storage.DeleteOperation(s.segmentKey(1))}
			}, 0, "segment 1 of the checkpoint is missing",
		},
		"records are missing": {
			func(s *Store) []*storage.Operation {
				return []*storage.Operation{storage.DeleteOperation(s.containerKey(id(1))), storage.DeleteOperation(s.containerKey(id(2)))}
			}, 98, "the records of 2 containers",
		},
		"a segment with more ids than are written": {
			func(s *Store) []*storage.Operation {
				return []*storage.Operation{storage.SetOperation(s.segmentKey(1), []byte(strings.Repeat("x\n", 100)))}
			}, 64, "larger than any that is written",
		},
		"a segment of 1 MiB": {
			func(s *Store) []*storage.Operation {
				return []*storage.Operation{storage.SetOperation(s.segmentKey(1), bytes.Repeat([]byte("x"), 1<<20))}
			}, 64, "larger than any that is written",
		},
		"a container in two segments": {
			func(s *Store) []*storage.Operation {
				return []*storage.Operation{storage.SetOperation(s.segmentKey(1), []byte(strings.Join(s.segments[0], "\n")))}
			}, 64, "",
		},
		"a record of 1 MiB": {
			func(s *Store) []*storage.Operation {
				raw := []byte(`{"st":2,"n":"` + strings.Repeat("x", 1<<20) + `"}`)
				return []*storage.Operation{storage.SetOperation(s.containerKey(id(1)), raw)}
			}, 99, "more than 16448 bytes",
		},
		"a record with a number of 9,000 digits": {
			func(s *Store) []*storage.Operation {
				raw := []byte(`{"st":2,"c":` + strings.Repeat("9", 9000) + `}`)
				return []*storage.Operation{storage.SetOperation(s.containerKey(id(1)), raw)}
			}, 99, "characters of a number",
		},
		"a record that is nested deeply": {
			func(s *Store) []*storage.Operation {
				raw := []byte(`{"st":2,"x":` + strings.Repeat("[", 4000) + strings.Repeat("]", 4000) + `}`)
				return []*storage.Operation{storage.SetOperation(s.containerKey(id(1)), raw)}
			}, 99, "nesting",
		},
	} {
		t.Run(desc, func(t *testing.T) {
			ctx, c := t.Context(), client()
			s := New(c, "boot")
			var changes []tracker.Change
			for n := range 100 {
				changes = append(changes, change(typical(n)))
			}
			require.NoError(t, s.Save(ctx, changes, seen))
			require.NoError(t, c.Batch(ctx, tt.spoil(s)...))

			s = New(c, "boot")
			r, err := s.Load(ctx)
			if tt.msg != "" {
				require.ErrorContains(t, err, tt.msg)
			}
			assert.Less(t, len(fmt.Sprint(err)), 2000)
			assert.Len(t, r.Containers, tt.valid)
			assert.Equal(t, seen, r.Seen)
			require.NoError(t, s.Save(ctx, []tracker.Change{change(typical(500))}, seen))
			r, err = New(c, "boot").Load(ctx)
			require.NoError(t, err, "reported once")
			assert.Len(t, r.Containers, tt.valid+1)
		})
	}
}

func TestLoadOfAHugeCheckpointIsBounded(t *testing.T) {
	ctx, c := t.Context(), values{}
	s := New(c, "boot")
	s.meta.Generation = "g"
	require.NoError(t, c.Set(ctx, metaKey, []byte(`{"kind":"zastava.checkpoint","version":1,"generation":"g","segments":65536}`)))
	for n := range 2000 {
		ids := make([]string, perSegment)
		for i := range ids {
			ids[i] = strconv.Itoa(n*perSegment + i)
			require.NoError(t, c.Set(ctx, s.containerKey(ids[i]), []byte(`{"st":2}`)))
		}
		require.NoError(t, c.Set(ctx, s.segmentKey(n), []byte(strings.Join(ids, "\n"))))
	}
	oracle.Bound(t, oracle.Cost{Bytes: 512 << 20, CPU: 20 * time.Second})
	r, err := New(c, "boot").Load(ctx)
	require.ErrorContains(t, err, "more than 65536 items")
	assert.Len(t, r.Containers, maxContainers)
}

// values is a client whose operations cost what they read.
type values map[string][]byte

func (v values) Get(_ context.Context, key string) ([]byte, error)     { return v[key], nil }
func (v values) Set(_ context.Context, key string, value []byte) error { v[key] = value; return nil }

func (v values) Delete(_ context.Context, key string) error { delete(v, key); return nil }
func (values) Close(context.Context) error                  { return nil }

func (v values) Batch(_ context.Context, ops ...*storage.Operation) error {
	for _, op := range ops {
		switch op.Type {
		case storage.Get:
			op.Value = v[op.Key]
		case storage.Set:
			v[op.Key] = op.Value
		case storage.Delete:
			delete(v, op.Key)
		}
	}
	return nil
}

func TestMissingSegmentsAreCounted(t *testing.T) {
	ctx, c := t.Context(), values{}
	require.NoError(t, c.Set(ctx, metaKey, []byte(`{"kind":"zastava.checkpoint","version":1,"generation":"g","segments":65536}`)))
	oracle.Bound(t, oracle.Cost{Bytes: 128 << 20, CPU: 10 * time.Second})
	s := New(c, "boot")
	_, err := s.Load(ctx)
	require.ErrorContains(t, err, "segment 0 of the checkpoint is missing")
	require.ErrorContains(t, err, "65528 more faults of the checkpoint")
	require.NoError(t, s.Save(ctx, nil, seen))
	_, err = New(c, "boot").Load(ctx)
	require.NoError(t, err, "reported once")
}

// failing is a client whose batches fail while fail is set.
type failing struct {
	storage.Client
	fail bool
}

func (f *failing) Batch(ctx context.Context, ops ...*storage.Operation) error {
	if f.fail {
		return storage.ErrStorageFull
	}
	return f.Client.Batch(ctx, ops...)
}

func TestFailedSaveIsWrittenByTheNext(t *testing.T) {
	ctx := t.Context()
	c := &failing{Client: client()}
	s := New(c, "boot")
	c.fail = true
	require.ErrorIs(t, s.Save(ctx, []tracker.Change{change(typical(1)), change(typical(2))}, seen), storage.ErrStorageFull)
	c.fail = false
	require.NoError(t, s.Save(ctx, []tracker.Change{{ID: fmt.Sprintf("%064x", 2)}}, seen))
	r, err := New(c, "boot").Load(ctx)
	require.NoError(t, err)
	assert.Len(t, r.Containers, 1)
}

func TestPendingChangesAreBoundedWhileStorageFails(t *testing.T) {
	ctx := t.Context()
	c := &failing{Client: client()}
	s := New(c, "boot")
	require.NoError(t, s.Save(ctx, []tracker.Change{change(typical(0)), change(typical(1))}, seen))
	c.fail = true
	gone := func(n int) tracker.Change { return tracker.Change{ID: typical(n).Container.ID} }
	for n := 2; n < 1000; n++ {
		require.Error(t, s.Save(ctx, []tracker.Change{change(typical(n))}, seen))
		require.Error(t, s.Save(ctx, []tracker.Change{gone(n)}, seen))
	}
	require.Error(t, s.Save(ctx, []tracker.Change{gone(1), change(typical(1)), gone(1), change(typical(2000))}, seen))
	assert.Len(t, s.pending, 2, "one to be deleted on disk, and one that exists")
	assert.Len(t, s.segments, 1)
	c.fail = false
	require.NoError(t, s.Save(ctx, nil, seen.Add(time.Minute)))
	r, err := New(c, "boot").Load(ctx)
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{typical(0).Container.ID, typical(2000).Container.ID}, slices.Collect(maps.Keys(r.Containers)))
	rest, err := c.Get(ctx, s.containerKey(typical(1).Container.ID))
	require.NoError(t, err)
	assert.Nil(t, rest)
}

func TestSaveWithoutATimeLeavesItUnset(t *testing.T) {
	ctx, c := t.Context(), client()
	require.NoError(t, New(c, "boot").Save(ctx, []tracker.Change{change(typical(1))}, time.Time{}))
	r, err := New(c, "boot").Load(ctx)
	require.NoError(t, err)
	assert.Len(t, r.Containers, 1)
	assert.True(t, r.Seen.IsZero(), r.Seen)
}

// FuzzLoad loads a checkpoint whose meta record, index segment and container records contain anything.
func FuzzLoad(f *testing.F) {
	raw, err := encode(typical(1))
	require.NoError(f, err)
	f.Add([]byte(`{"kind":"zastava.checkpoint","version":1,"generation":"g","seen":1777777777000000000,"segments":2}`), []byte("id\nid2\nid"), raw)
	f.Add([]byte(`{"kind":"zastava.checkpoint","version":1,"generation":"g","seen":-1,"segments":65536}`), []byte("\n\xff\n"), raw)
	f.Add([]byte(`{"kind":"zastava.checkpoint","version":1,"generation":"g","segments":1e9}`), []byte("id"), []byte(`{"st":2,"rs":1,"rf":-9223372036854775808,"c":7}`))
	f.Add([]byte(`{"kind":"zastava.checkpoint","version":1,"generation":"g","segments":1e-999999}`), []byte("id"), []byte(strings.Repeat("[", 9000)))
	f.Add([]byte(`{"kind":"zastava.checkpoint","version":1,"generation":"g","segments":1}`), bytes.Repeat([]byte("a\n"), 9000), []byte(`{"st":`+strings.Repeat("9", 9000)+`}`))
	f.Fuzz(func(t *testing.T, whole, segment, record []byte) {
		oracle.Bound(t, oracle.Parsing(len(whole)+len(segment)+(1+bytes.Count(segment, []byte("\n")))*len(record)))
		ctx, c := t.Context(), client()
		s := New(c, "boot")
		s.meta.Generation = "g"
		require.NoError(t, c.Set(ctx, metaKey, whole))
		require.NoError(t, c.Set(ctx, s.segmentKey(0), segment))
		for id := range strings.SplitSeq(string(segment), "\n") {
			require.NoError(t, c.Set(ctx, s.containerKey(id), record))
		}
		s = New(c, "boot")
		r, _ := s.Load(ctx) // an error names what could not be read; the rest is valid
		known := func(at time.Time) bool { return at.IsZero() || at.Year() >= 2000 }
		require.True(t, known(r.Seen), r.Seen)
		for id, k := range r.Containers {
			require.NotEmpty(t, id)
			require.Equal(t, id, k.Container.ID)
			require.True(t, known(k.Container.CreatedAt) && known(k.Run.StartedAt) && known(k.Run.FinishedAt), k)
		}
		// What is saved afterwards is loaded again, and so is what was valid.
		require.NoError(t, s.Save(ctx, []tracker.Change{change(typical(5))}, seen))
		again, err := New(c, "boot").Load(ctx)
		require.NoError(t, err, "reported once")
		require.Contains(t, again.Containers, typical(5).Container.ID)
		for id := range r.Containers {
			require.Contains(t, again.Containers, id)
		}
	})
}

func FuzzDecode(f *testing.F) {
	raw, err := encode(typical(1))
	require.NoError(f, err)
	f.Add(raw)
	f.Add([]byte(`{"st":4,"s":{"p":"x","b":"!!"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		oracle.Bound(t, oracle.Parsing(len(raw)))
		k, err := decode("id", meta{}, raw)
		if err != nil {
			return
		}
		again, err := encode(k)
		require.NoError(t, err)
		assert.LessOrEqual(t, len(again), MaxRecord)
	})
}
