// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/zastava-otel/zastava/internal/backend/backendtest"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

func newReader(tb testing.TB) *Reader {
	tb.Helper()
	r, err := NewReader(Limits{Events: backendapi.MaxEventsPerBatch, Bytes: 8 * backendapi.MaxBatchBytes})
	require.NoError(tb, err)
	return r
}

// agree parses a body both ways. A body that the short way accepts must be accepted by the schema too, with the same result.
func agree(tb require.TestingT, r *Reader, body []byte) (short, bySchema bool) {
	a, short := r.parseCanonical(body, backendtest.Tenant)
	b, p := r.parseAny(context.Background(), body, backendtest.Tenant)
	if short {
		require.Nil(tb, p, "refused by the schema alone: %+v\n%s", p, body)
		require.Equal(tb, b, a)
	}
	return short, p == nil
}

// full is an event with every field.
func full() backendapi.Event {
	e := backendtest.NewLife(0).Stopped(9, 1, 137, "OOMKilled")
	at := e.When
	e.Project, e.Annotations = "p", map[string]string{"a": "b", "": ""}
	delete(e.Annotations, "")
	e.Workload.Labels, e.Workload.Owner = map[string]string{"app": "api", "empty": ""}, &backendapi.Owner{Kind: "ReplicaSet", Name: "api-1"}
	e.Workload.ImageDigest, e.Workload.ImageID = "sha256:ab", "sha256:cd"
	e.Run.Signal, e.Run.RestartCount = "SIGKILL", new(uint32(3))
	e.Previous = &backendapi.Previous{ContainerID: "containerd://3e", ExitCode: new(uint32(1)), Reason: "Error", FinishedAt: &at}
	e.CrashLoop = &backendapi.CrashLoop{Count: 3, ExitCode: new(uint32(1)), Reason: "Error", WindowSeconds: 600}
	e.Gap = &backendapi.Gap{Cause: "list_failed", Folded: 2, From: at, To: at, Runtime: "main"}
	e.Process = &backendapi.Process{BuildID: "gnu-build-id:9f", Entrypoint: []string{"/bin/sh", "", "-c"}, Executable: "/bin/sh", PID: 7}
	e.LoadedLibs = []backendapi.LoadedLib{{BuildID: "go:x", Path: "/lib/x.so", SHA256: strings.Repeat("ab", 32), Size: 9}}
	e.Evidence = []backendapi.Evidence{{Signal: "s", Value: "v"}, {Signal: "t"}}
	e.Observation.MissedRuns, e.Observation.WindowStart = new(uint32(0)), &at
	return e
}

// edges are values at and just beyond what is allowed, for the fields of an event by their type.
func edges(t *rapid.T, v reflect.Value) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(rapid.SampledFrom([]time.Time{
			{},
			time.Unix(0, 0).UTC(),
			time.Date(1970, 12, 31, 23, 59, 59, 999999999, time.UTC),
			time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC),
			time.Date(2199, 12, 31, 23, 59, 59, 999999999, time.UTC),
			time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC),
			time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
			time.Date(2026, 11, 22, 1, 2, 3, 100, time.FixedZone("", 3600)),
		}).Draw(t, "time")))
		return
	case map[string]string:
		pairs := map[string]string{}
		for range rapid.SampledFrom([]int{0, 1, 2, backendapi.MaxPairs - 1, backendapi.MaxPairs}).Draw(t, "pairs") {
			pairs[uuid.NewString()] = "v"
		}
		pairs[text(t)] = text(t)
		v.Set(reflect.ValueOf(pairs))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() || rapid.Bool().Draw(t, "none") {
			v.SetZero()
			return
		}
		edges(t, v.Elem())
	case reflect.Struct:
		edges(t, v.Field(rapid.IntRange(0, v.NumField()-1).Draw(t, "field")))
	case reflect.Slice:
		if v.Len() == 0 || rapid.Bool().Draw(t, "no items") {
			v.SetLen(0)
			return
		}
		edges(t, v.Index(rapid.IntRange(0, v.Len()-1).Draw(t, "item")))
	case reflect.String:
		v.SetString(text(t))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "flag"))
	case reflect.Float64:
		v.SetFloat(rapid.SampledFrom([]float64{0, math.Copysign(0, -1), -1, 0.1, 1e21, 1e300, 1e-7, math.NaN(), math.Inf(1)}).Draw(t, "number"))
	default:
		v.SetUint(rapid.SampledFrom([]uint64{0, 1, math.MaxUint32, 1<<53 - 1, 1 << 53, math.MaxUint64}).Draw(t, "integer") & (1<<v.Type().Bits() - 1))
	}
}

func text(t *rapid.T) string {
	one := rapid.SampledFrom([]string{"a", "é", "\U0001f600", " ", "\x00", "\xff", "\"", "\u2028"}).Draw(t, "character")
	most := rapid.SampledFrom([]int{1, backendapi.MaxEngine, backendapi.MaxTenant, backendapi.MaxName, backendapi.MaxText, backendapi.MaxArgument}).Draw(t, "length")
	known := []string{
		"", one, strings.Repeat(one, most), strings.Repeat(one, most) + "a", "CONTAINER_START", "OBSERVER_GAP", "acme", "stream", "exact",
		"containerd://1", "cri-o://a b", "9p://1", "://1", "a://", "containerd://" + strings.Repeat("1", 499), "containerd://" + strings.Repeat("1", 500),
		"5f6f3b1c-6d0a-5a57-9a40-0a6c7b8f2f11", "5F6F3B1C-6D0A-5A57-9A40-0A6C7B8F2F11", "5f6f3b1c6d0a5a579a400a6c7b8f2f11",
		"{5f6f3b1c-6d0a-5a57-9a40-0a6c7b8f2f11}", "urn:uuid:5f6f3b1c-6d0a-5a57-9a40-0a6c7b8f2f11", strings.Repeat("ab", 32), strings.Repeat("AB", 32),
	}
	return rapid.SampledFrom(known).Draw(t, "text")
}

// TestValidateAgreesWithSchema: of an event as the exporter writes it, the code and the schema think the same.
func TestValidateAgreesWithSchema(t *testing.T) {
	r := newReader(t)
	seen := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		e := full()
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			edges(t, reflect.ValueOf(&e).Elem())
		}
		batch := backendapi.Batch{Events: []backendapi.Envelope{{Event: e, SchemaVersion: backendapi.SchemaVersion}}}
		batch.BatchID = backendapi.BatchID(batch.Events)
		short, bySchema := agree(t, r, batch.AppendCanonical(nil))
		require.Equal(t, bySchema, short, "Event.Validate and the schema differ on %s", batch.AppendCanonical(nil))
		seen[short]++
	})
	require.Positive(t, seen[true], "no good event was tried")
	require.Positive(t, seen[false], "no bad event was tried")
}

// TestOtherJSONFormsUseTheSchema checks that JSON which differs from the canonical form is left to the schema, valid or not.
func TestOtherJSONFormsUseTheSchema(t *testing.T) {
	r := newReader(t)
	batch := backendtest.Batch(full(), backendtest.NewLife(1).Started(1))
	body := string(batch.AppendCanonical(nil))
	short, bySchema := agree(t, r, []byte(body))
	require.True(t, short)
	require.True(t, bySchema)
	for name, change := range map[string]struct {
		old, other string
		good       bool
	}{
		"white space":                   {`{"batchId"`, ` { "batchId"`, true},
		"another order":                 {`"kind":"CONTAINER_STOP","loadedLibs"`, `"revision":0,"kind":"CONTAINER_STOP","loadedLibs"`, false},
		"no revision":                   {`"revision":0,`, ``, true},
		"a flag that is false":          {`"missedRuns":0,`, `"missedRuns":0,"missedUnknown":false,`, true},
		"escaped needlessly":            {`"acme"`, `"\u0061cme"`, true},
		"an upper-case exponent":        {`"windowSeconds":600`, `"windowSeconds":6E2`, true},
		"trailing zeros of a time":      {`.123456789Z`, `.120000000Z`, true},
		"an integer with a point":       {`"exitCode":1,`, `"exitCode":1.0,`, false},
		"a time of another zone":        {`.123456789Z`, `.123456789+00:00`, false},
		"a time with ten digits":        {`.123456789Z`, `.1234567891Z`, false},
		"a time with a comma":           {`.123456789Z`, `,123456789Z`, false},
		"null":                          {`"project":"p"`, `"project":null`, false},
		"an empty text":                 {`"project":"p"`, `"project":""`, false},
		"an empty list":                 {`"entrypoint":["/bin/sh","","-c"]`, `"entrypoint":[]`, true},
		"a required count is missing":   {`"count":3,`, ``, false},
		"a required value is missing":   {`"signal":"t","value":""`, `"signal":"t"`, false},
		"a name in another case":        {`"project"`, `"Project"`, false},
		"an unknown name":               {`"project"`, `"projekt"`, false},
		"a name twice":                  {`"project":"p"`, `"project":"p","project":"p"`, false},
		"another schema":                {backendapi.SchemaVersion, "zastava.runtime.event@v1.1", false},
		"more after the batch":          {`]}`, `]}{}`, false},
		"another tenant":                {`"acme"`, `"globex"`, false},
		"a batch id that is not a UUID": {batch.BatchID, strings.ReplaceAll(batch.BatchID, "-", "_"), false},
		"a batch id in upper case":      {batch.BatchID, strings.ToUpper(batch.BatchID), true},
	} {
		t.Run(name, func(t *testing.T) {
			i := strings.LastIndex(body, change.old)
			if name != "more after the batch" {
				i = strings.Index(body, change.old)
			}
			require.GreaterOrEqual(t, i, 0)
			changed := body[:i] + change.other + body[i+len(change.old):]
			short, bySchema := agree(t, r, []byte(changed))
			require.Equal(t, change.good, bySchema)
			require.Equal(t, name == "a batch id in upper case", short)
		})
	}
}

// FuzzCanonical checks that the short way accepts no body that the schema refuses.
func FuzzCanonical(f *testing.F) {
	r := newReader(f)
	batch := backendtest.Batch(full())
	f.Add(batch.AppendCanonical(nil))
	f.Fuzz(func(t *testing.T, body []byte) {
		oracle.Bound(t, oracle.Parsing(len(body)))
		agree(t, r, body)
	})
}
