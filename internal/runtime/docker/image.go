// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"strings"
	"sync"

	"github.com/containerd/errdefs"

	"github.com/zastava-otel/zastava/internal/container"
)

const (
	// maxImages bounds the images that are remembered; the oldest goes first.
	maxImages = 1024
	// maxDigests bounds the repository digests kept of one image.
	maxDigests = 16
)

// imageCache remembers what an image inspect told, by image id: an id is a digest, so what it names does not change. Only its
// repository digests may come later, when the same image is pulled again from elsewhere; that is not seen.
type imageCache struct {
	mu      sync.Mutex
	digests map[string][]string
	order   []string
	asked   map[string]chan struct{} // closed when the answer is there
}

func (i *imageCache) init() { i.digests, i.asked = map[string][]string{}, map[string]chan struct{}{} }

// claim tells whether the caller is the one to ask for an image, or gives what closes when the one who asks has done so.
func (i *imageCache) claim(id string) (mine bool, done chan struct{}) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if done, ok := i.asked[id]; ok {
		return false, done
	}
	done = make(chan struct{})
	i.asked[id] = done
	return true, done
}

func (i *imageCache) release(id string, done chan struct{}) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.asked, id)
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
	i.digests[id] = digests
	i.order = append(i.order, id)
}

// withImage gives c with its image's digests. Where the engine does not tell them, c is as it was.
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

// repoDigests asks the engine once for each image. An image that is gone, though containers of it live on, is asked for
// once as well; any other failure is tried again at the next inspect.
func (r *Runtime) repoDigests(ctx context.Context, id string) []string {
	if known, ok := r.images.get(id); ok {
		return known
	}
	mine, done := r.images.claim(id)
	if !mine {
		select {
		case <-done:
		case <-ctx.Done():
		}
		known, _ := r.images.get(id)
		return known
	}
	defer r.images.release(id, done)
	answer, err := r.client.ImageInspect(ctx, id)
	if err != nil {
		if errdefs.IsNotFound(err) {
			r.images.put(id, nil)
		}
		return nil // the container is known all the same
	}
	var digests []string
	for _, d := range answer.RepoDigests {
		if _, hash, ok := strings.Cut(d, "@"); ok && digest(hash) != "" && len(digests) < maxDigests {
			digests = append(digests, intern(d))
		}
	}
	r.images.put(id, digests)
	return digests
}

// manifestOf gives the digest that the image was asked for by, or the one that all its repositories agree on.
func manifestOf(reference string, repoDigests []string) string {
	if _, hash, ok := strings.Cut(reference, "@"); ok {
		return digest(hash)
	}
	agreed := ""
	for _, d := range repoDigests {
		_, hash, _ := strings.Cut(d, "@")
		if agreed != "" && agreed != hash {
			return ""
		}
		agreed = hash
	}
	return digest(agreed)
}
