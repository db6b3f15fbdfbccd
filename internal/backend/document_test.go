// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/zastava-otel/zastava/docs/api"
	"github.com/zastava-otel/zastava/internal/backend/backendtest"
	"github.com/zastava-otel/zastava/internal/backend/store"
	"github.com/zastava-otel/zastava/internal/backend/wire"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

// document is the part of docs/api/openapi.yaml that the tests compare with.
type document struct {
	OpenAPI string                    `yaml:"openapi"`
	Paths   map[string]map[string]any `yaml:"paths"`
}

func TestDocumentHasExactlyTheRoutes(t *testing.T) {
	var doc document
	require.NoError(t, yaml.Unmarshal(api.OpenAPI, &doc))
	assert.Equal(t, "3.1.0", doc.OpenAPI)
	var want, got []string
	for path, operations := range doc.Paths {
		for method := range operations {
			want = append(want, strings.ToUpper(method)+" "+path)
		}
	}
	b := open(t)
	for _, r := range b.table() {
		got = append(got, strings.NewReplacer("...}", "}", "{$}", "").Replace(r.pattern))
	}
	assert.ElementsMatch(t, want, got)
}

func open(t *testing.T) *Backend {
	t.Helper()
	b, err := New(t.Context(), Options{DB: filepath.Join(t.TempDir(), "x.db")})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	return b
}

func validate(t *testing.T, schema string, raw []byte) error {
	t.Helper()
	s, err := wire.Schema(schema)
	require.NoError(t, err)
	tree, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	require.NoError(t, err)
	return s.Validate(tree)
}

// TestTypesEncodeToValidJSON fills every field of the Go types, so that a field that one side lacks is found.
func TestTypesEncodeToValidJSON(t *testing.T) {
	var e backendapi.Event
	fill(t, reflect.ValueOf(&e).Elem(), "")
	e.EventID, e.Kind, e.Observation.Source, e.Observation.Precision = "5f6f3b1c-6d0a-5a57-9a40-0a6c7b8f2f11", backendapi.KindStop, "stream", "window"
	e.Workload.ContainerID, e.LoadedLibs[0].SHA256 = "containerd://4f1a", strings.Repeat("ab", 32)
	raw, err := json.Marshal(backendtest.Batch(e))
	require.NoError(t, err)
	require.NoError(t, validate(t, "Batch", raw))

	var members map[string]json.RawMessage
	one, err := json.Marshal(e)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(one, &members))
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]any `yaml:"properties"`
			} `yaml:"schemas"`
		} `yaml:"components"`
	}
	require.NoError(t, yaml.Unmarshal(api.OpenAPI, &doc))
	for name := range doc.Components.Schemas["EventFields"].Properties {
		assert.Contains(t, members, name, "the schema has a field that the type has not")
	}

	minimal := backendtest.NewLife(0).Event(backendapi.KindCreate, 0)
	minimal.Runtime.Version, minimal.Workload = "", &backendapi.Workload{ContainerID: "cri-o://1"}
	minimal.Observation = backendapi.Observation{Source: "inventory"}
	gap := minimal
	gap.Kind, gap.Workload = backendapi.KindObserverGap, nil
	gap.Gap = &backendapi.Gap{From: minimal.When, To: minimal.When, Cause: "list_failed"}
	raw, err = json.Marshal(backendtest.Batch(minimal, gap))
	require.NoError(t, err)
	require.NoError(t, validate(t, "Batch", raw))

	gap.Gap = nil
	raw, err = json.Marshal(backendtest.Batch(gap))
	require.NoError(t, err)
	require.Error(t, validate(t, "Batch", raw), "a gap must have its start and end")
}

// fill sets every field to something that is not zero.
func fill(t *testing.T, v reflect.Value, name string) {
	t.Helper()
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), name)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(backendtest.Start))
			return
		}
		for i := range v.NumField() {
			fill(t, v.Field(i), v.Type().Field(i).Name)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0), name)
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"key": "value"}))
	case reflect.String:
		v.SetString("value")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	default:
		require.Failf(t, "cannot fill", "%s of kind %s", name, v.Kind())
	}
}

func TestAnswersMatchTheDocument(t *testing.T) {
	b := open(t)
	l, second := backendtest.NewLife(0), backendtest.NewLife(1)
	second.Name = l.Name
	loop := second.InRun(backendapi.KindCrashLoop, 31, 30)
	loop.CrashLoop = &backendapi.CrashLoop{Count: 3, WindowSeconds: 600, ExitCode: new(uint32(1)), Reason: "Error"}
	_, _, err := b.store.Ingest(t.Context(), backendtest.Tenant, "5f6f3b1c-6d0a-5a57-9a40-0a6c7b8f2f11", backendtest.Records(
		l.Started(1), l.Stopped(2, 1, 137, "OOMKilled"), second.Started(30), loop,
	))
	require.NoError(t, err)
	var f backendapi.Fact
	fill(t, reflect.ValueOf(&f).Elem(), "")
	f.LoaderBase, f.ContainerID = "0x7f23c01000", "containerd://"+l.ID
	_, err = b.store.AddFacts(t.Context(), backendtest.Tenant, &store.FactsRequest{CallgraphID: "cg", SubjectKey: "scan:1", Facts: []backendapi.Fact{f}})
	require.NoError(t, err)
	facts, err := json.Marshal(backendapi.Facts{CallgraphID: "cg", Subject: backendapi.Subject{ScanID: "1"}, Events: []backendapi.Fact{f}})
	require.NoError(t, err)
	require.NoError(t, validate(t, "Facts", facts))
	for path, schema := range map[string]string{
		backendapi.EventsPath:              "EventPage",
		backendapi.EventsPath + "?limit=1": "EventPage",
		"/api/v1/containers":               "ContainerPage",
		"/api/v1/containers?state=paused":  "ContainerPage",
		"/api/v1/containers/" + l.ID:       "ContainerDetail",
		"/api/v1/images":                   "ImagePage",
		"/signals/runtime-facts?scanId=1":  "FactPage",
		"/api/v1/containers/unknown":       "Problem",
		"/api/v1/images?limit=x":           "Problem",
	} {
		w := httptest.NewRecorder()
		b.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		require.NoError(t, validate(t, schema, w.Body.Bytes()), "%s: %s", path, w.Body)
	}
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/openapi.yaml", nil))
	assert.Equal(t, api.OpenAPI, w.Body.Bytes())
}

func TestDocumentHasAllKinds(t *testing.T) {
	for _, k := range backendapi.Kinds() {
		raw, err := json.Marshal(k)
		require.NoError(t, err)
		require.NoError(t, validate(t, "Kind", raw))
	}
	assert.True(t, slices.Contains(strings.Split(string(api.OpenAPI), "\n"), "        schemaVersion: {const: "+backendapi.SchemaVersion+"}"))
}

func TestEveryProblemTypeIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference-backend.md")
	require.NoError(t, err)
	kind := regexp.MustCompile(`problem\.New\(\s*http\.\w+,\s*"([a-z-]+)"`)
	found := map[string]bool{}
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range kind.FindAllSubmatch(source, -1) {
			found[string(m[1])] = true
		}
		return err
	}))
	require.Greater(t, len(found), 10)
	for name := range found {
		assert.Contains(t, string(page), "\n### "+name+"\n")
	}
	assert.Equal(t, len(found), strings.Count(string(page), "\n### "), "no problem is explained that is not there")
}
