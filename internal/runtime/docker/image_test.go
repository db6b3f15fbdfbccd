// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
)

// inspectedContainerImage inspects a container and returns its image.
func inspectedContainerImage(t *testing.T, r *Runtime) container.Image {
	t.Helper()
	s, err := r.Inspect(t.Context(), &container.Container{ID: id1})
	require.NoError(t, err)
	return s.Container.Image
}

func TestManifestDigestIsReadFromImage(t *testing.T) {
	const other = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
	cases := []struct {
		name, reference, repoDigests, descriptor, want string
	}{
		{"requested by digest", "example.test/web@" + other, `"example.test/web@` + mfd + `"`, "", other},
		{"requested by tag and digest", "example.test/web:1@" + other, "", "", other},
		{"all repositories agree", "example.test/web:1", `"a.test/x@` + mfd + `","b.test/y@` + mfd + `"`, "", mfd},
		{"they do not", "example.test/web:1", `"a.test/x@` + mfd + `","b.test/y@` + other + `"`, "", ""},
		{"none", "example.test/web:1", "", "", ""},
		{"no digest", "example.test/web:1", `"a.test/x@` + canary + `","` + canary + `"`, "", ""},
		{"the engine reports it", "example.test/web@" + other, `"example.test/web@` + mfd + `"`, img, img},
		{"the engine reports an invalid digest", "example.test/web:1", "", canary, ""},
		{"requested by image id", img, "", "", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := newEngine(t)
			descriptor := ""
			if c.descriptor != "" {
				descriptor = `,"ImageManifestDescriptor":{"digest":"` + c.descriptor + `"}`
			}
			e.respond("/containers/"+id1+"/json", `{"Id":"`+id1+`","Image":"`+img+`","Config":{"Image":"`+c.reference+`"}`+descriptor+`}`)
			e.respond("/images/"+img+"/json", `{"Id":"`+img+`","RepoDigests":[`+c.repoDigests+`]}`)
			got := inspectedContainerImage(t, e.runtime())
			assert.Equal(t, c.want, got.ManifestDigest)
			assert.NotEqual(t, img, got.Reference, "an image id is not a reference")
			assertNoCanary(t, got)
		})
	}
}

func TestImageIsRequestedAgainAfterFailure(t *testing.T) {
	e := newEngine(t)
	e.respond("/containers/"+id1+"/json", inspection(id1, `{"Status":"running","StartedAt":"2023-11-14T22:13:21.5Z"}`))
	e.respond("/images/"+img+"/json", `{"Id":"`+img+`","RepoDigests":["example.test/web@`+mfd+`"]}`)
	e.refuse["/images/"+img+"/json"] = http.StatusInternalServerError
	r := e.runtime()
	assert.Empty(t, inspectedContainerImage(t, r).RepoDigests, "the inspection succeeds without the digests")
	e.mu.Lock()
	clear(e.refuse)
	e.mu.Unlock()
	assert.Len(t, inspectedContainerImage(t, r).RepoDigests, 1)

	e.mu.Lock()
	delete(e.responses, "/images/"+img+"/json") // removed by force while the container runs
	e.mu.Unlock()
	assert.Len(t, inspectedContainerImage(t, r).RepoDigests, 1, "what was known stays known")
	assert.Equal(t, 2, e.times("/images/"+img+"/json"))
}

func TestImageCacheIsBounded(t *testing.T) {
	var i imageCache
	for n := range maxImages + 10 {
		i.put(strconv.Itoa(n), []string{"x"})
		i.put(strconv.Itoa(n), nil) // it was known
	}
	assert.Len(t, i.digests, maxImages)
	assert.Len(t, i.order, maxImages)
	_, ok := i.get("9")
	assert.False(t, ok, "the oldest is evicted first")
	known, ok := i.get("10")
	assert.True(t, ok)
	assert.Equal(t, []string{"x"}, known)

	e := newEngine(t)
	e.respond("/containers/"+id1+"/json", inspection(id1, `{"Status":"running"}`))
	e.respond("/images/"+img+"/json", `{"RepoDigests":["`+strings.Repeat(`a.test/x@`+mfd+`","`, 10*maxDigests)+`a.test/x@`+mfd+`"]}`)
	assert.Len(t, inspectedContainerImage(t, e.runtime()).RepoDigests, maxDigests)
}

func TestImageIsRequestedOnceConcurrently(t *testing.T) {
	e := newEngine(t)
	e.respond("/images/"+img+"/json", `{"RepoDigests":["example.test/web@`+mfd+`"]}`)
	e.slow = map[string]time.Duration{"/images/" + img + "/json": 100 * time.Millisecond}
	r := e.runtime()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { assert.Len(t, r.repoDigests(t.Context(), img), 1) })
	}
	wg.Wait()
	assert.Equal(t, 1, e.times("/images/"+img+"/json"))
}

func TestInspectRequestsEachImageOnce(t *testing.T) {
	e := newEngine(t)
	for _, id := range []string{id1, id2} {
		e.respond("/containers/"+id+"/json", inspection(id, `{"Status":"running","StartedAt":"2023-11-14T22:13:21.5Z"}`))
	}
	r := e.runtime()
	for range 3 {
		for _, id := range []string{id1, id2} {
			got, err := r.Inspect(t.Context(), &container.Container{ID: id})
			require.NoError(t, err)
			assert.Empty(t, got.Container.Image.RepoDigests, "the image is gone")
		}
	}
	assert.Equal(t, 1, e.times("/images/"+img+"/json"))
}
