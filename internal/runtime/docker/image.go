// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"strings"
	"sync"

	"github.com/containerd/errdefs"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

const (
	// maxImages is the maximum number of cached images; the oldest is evicted first.
	maxImages = 1024
	// maxDigests is the maximum number of repository digests of one image.
	maxDigests = 16
)

// imageCache holds the repository digests of images by image id. An id is a digest, so its image does not change. Digests that
// are added later, because the same image is pulled from another registry, are missed. The zero value is ready for use.
type imageCache struct {
	mu      sync.Mutex
	digests map[string][]string
	order   []string
	pending map[string]chan struct{} // of running requests; closed when the request has ended
}

// begin reports whether the caller is to request an image, or returns the channel that is closed when a running request ends.
func (i *imageCache) begin(id string) (mine bool, done chan struct{}) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if done, ok := i.pending[id]; ok {
		return false, done
	}
	done = make(chan struct{})
	if i.pending == nil {
		i.pending = map[string]chan struct{}{}
	}
	i.pending[id] = done
	return true, done
}

// end ends the request of a caller for which begin returned true.
func (i *imageCache) end(id string, done chan struct{}) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.pending, id)
	close(done)
}

func (i *imageCache) get(id string) ([]string, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	d, ok := i.digests[id]
	return d, ok
}

func (i *imageCache) put(id string, digests []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, had := i.digests[id]; had {
		return
	}
	if len(i.order) >= maxImages {
		delete(i.digests, i.order[0])
		i.order = i.order[1:]
	}
	if i.digests == nil {
		i.digests = map[string][]string{}
	}
	i.digests[id] = digests
	i.order = append(i.order, id)
}

// withImage returns c with the digests of its image, or c itself if the engine does not report them.
func (r *Runtime) withImage(ctx context.Context, c *container.Container) *container.Container {
	if c.Image.ID == "" || len(c.Image.RepoDigests) > 0 {
		return c
	}
	digests := r.repoDigests(ctx, c.Image.ID)
	manifest := c.Image.ManifestDigest
	if manifest == "" {
		manifest = manifestOf(c.Image.Reference, digests)
	}
	if len(digests) == 0 && manifest == c.Image.ManifestDigest {
		return c
	}
	now := *c
	now.Image.RepoDigests, now.Image.ManifestDigest = digests, manifest
	return &now
}

// repoDigests returns the repository digests of an image. It requests them once, also if the image was removed while containers
// of it remain. After any other failure, the next inspection tries again.
func (r *Runtime) repoDigests(ctx context.Context, id string) []string {
	if known, ok := r.images.get(id); ok {
		return known
	}
	mine, done := r.images.begin(id)
	if !mine {
		select {
		case <-done:
		case <-ctx.Done():
		}
		known, _ := r.images.get(id)
		return known
	}
	defer r.images.end(id, done)
	response, err := r.client.ImageInspect(ctx, id)
	if err != nil {
		if errdefs.IsNotFound(err) {
			r.images.put(id, nil)
		}
		return nil // the digests are optional
	}
	var digests []string
	for _, d := range response.RepoDigests {
		if _, hash, ok := strings.Cut(d, "@"); ok && runtime.Digest(hash) != "" && len(digests) < maxDigests {
			digests = append(digests, runtime.Intern(d))
		}
	}
	r.images.put(id, digests)
	return digests
}

// manifestOf returns the digest in the image's reference, or else the digest that is the same in all its repositories.
func manifestOf(reference string, repoDigests []string) string {
	if _, hash, ok := strings.Cut(reference, "@"); ok {
		return runtime.Digest(hash)
	}
	common := ""
	for _, d := range repoDigests {
		_, hash, _ := strings.Cut(d, "@")
		if common != "" && common != hash {
			return ""
		}
		common = hash
	}
	return runtime.Digest(common)
}
