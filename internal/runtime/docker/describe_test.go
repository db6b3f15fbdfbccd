// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

func TestDescribeReadsListItem(t *testing.T) {
	e := newEngine(t)
	e.respond("/containers/json", "["+listItem(id1, "running", "Up 1 second", `,"ImageManifestDescriptor":{"digest":"`+mfd+`"}`)+"]")
	r := e.runtime()
	list, err := r.List(t.Context(), nil)
	require.NoError(t, err)
	c, err := r.Describe(t.Context(), list[0])
	require.NoError(t, err)
	assert.Equal(t, &container.Container{
		Engine: "docker", Runtime: "test", ID: id1, Name: "web", CreatedAt: time.Unix(1700000000, 0).UTC(),
		Image:   container.Image{Reference: "example.test/web:1", ID: img, ManifestDigest: mfd},
		Labels:  map[string]string{"app": "web", "tier.a": "x"},
		Compose: container.Compose{Project: "shop", Service: "web", Number: "2"},
	}, c)
}

func TestDescribeAcceptsItemWithoutNameOrTime(t *testing.T) {
	e := newEngine(t)
	e.respond("/containers/json", `[{"Id":"`+id1+`","Names":null,"State":"dead"},{"Id":"`+id2+`","Names":["/x/y"],"State":"running","Labels":null}]`)
	r := e.runtime()
	list, err := r.List(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, list, 2)
	for _, s := range list {
		assert.Zero(t, s.CreatedAt)
		c, err := r.Describe(t.Context(), s)
		require.NoError(t, err)
		assert.Empty(t, c.Name, "a link is not a name")
		assert.Zero(t, c.CreatedAt)
	}
}

func TestDescribeBoundsLabels(t *testing.T) {
	r, err := New(Options{Endpoint: nowhere, Labels: []string{"named", "*"}})
	require.NoError(t, err)
	many := map[string]string{strings.Repeat("k", runtime.MaxText+1): "x", "long": strings.Repeat("v", 10*runtime.MaxText)}
	kept := r.labels.Keep(many)
	assert.Len(t, kept, 1, "a key that is cut would be another key")
	assert.Len(t, kept["long"], runtime.MaxText)
	for i := range 10 * runtime.MaxKept {
		many[fmt.Sprintf("%04d", i)] = "x"
	}
	many["named"] = "x"
	kept = r.labels.Keep(many)
	assert.Len(t, kept, runtime.MaxKept)
	assert.Contains(t, kept, "named", "an earlier pattern has priority")
	for range 5 {
		assert.Equal(t, kept, r.labels.Keep(many), "the same ones each time")
	}
}

func TestComposeOneOffHasNoNumber(t *testing.T) {
	e := newEngine(t)
	e.respond("/containers/json", `[{"Id":"`+id1+`","Names":["/shop-web-run-1"],"Created":1700000000,"State":"running","Status":"Up 1 second","Labels":{
		"com.docker.compose.project":"shop","com.docker.compose.service":"web","com.docker.compose.container-number":"1","com.docker.compose.oneoff":"True"}}]`)
	r := e.runtime()
	list, err := r.List(t.Context(), nil)
	require.NoError(t, err)
	c, err := r.Describe(t.Context(), list[0])
	require.NoError(t, err)
	assert.Equal(t, container.Compose{Project: "shop", Service: "web"}, c.Compose)
	assert.Equal(t, id1, c.Identity())
}

func TestNoticeDescribesContainer(t *testing.T) {
	e := newEngine(t)
	e.events = []string{event("create", time.Now().UnixNano(),
		`"app":"shop","tier.signal":"x","signal":"`+canary+`","com.docker.compose.project":"p","com.docker.compose.service":"s","com.docker.compose.container-number":"2",`+
			`"com.docker.swarm.task.id":"t"`)}
	got := watched(t, e.runtime(), 1)
	require.Len(t, got, 1)
	assert.Equal(t, &container.Container{
		Name: "web", Image: container.Image{Reference: "example.test/web:1"}, Labels: map[string]string{"app": "shop", "tier.signal": "x"},
		Compose: container.Compose{Project: "p", Service: "s", Number: "2"}, Swarm: container.Swarm{TaskID: "t"},
	}, got[0].Described)

	e = newEngine(t)
	e.events = []string{event("die", time.Now().UnixNano(), `"exitCode":"1","tier.x":"x"`)}
	o := Options{Name: "all", Endpoint: e.endpoint, Timeout: 5 * time.Second, Labels: []string{"app", "exitCode", "name", "image", "signal"}}
	r, err := New(o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.Close()) })
	assert.Nil(t, watched(t, r, 1)[0].Described.Labels, "the engine's own attributes are not labels")
}
