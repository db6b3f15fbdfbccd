// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// imageOf returns the image from CRI's image fields, whose content differs by runtime and by call:
//
//   - spec.image: a reference, or the image id, which the kubelet requests containers with;
//   - spec.user_specified_image: the reference in the pod's spec, if the kubelet is new enough to pass it on;
//   - ref: repository@digest, or only an image id;
//   - id: the image id, in CRI-O without the sha256: prefix.
func imageOf(spec *runtimeapi.ImageSpec, ref, id string) container.Image {
	ref = trimScheme(ref)
	var i container.Image
	for _, s := range []string{id, ref, spec.GetImage()} {
		if i.ID = imageID(s); i.ID != "" {
			break
		}
	}
	for _, s := range []string{spec.GetUserSpecifiedImage(), spec.GetImage(), ref} {
		if s = trimScheme(s); s != "" && imageID(s) == "" {
			i.Reference = runtime.Intern(s)
			break
		}
	}
	for _, s := range []string{ref, i.Reference} {
		if digest := repoDigest(s); digest != "" {
			i.RepoDigests = []string{runtime.Intern(s)}
			i.ManifestDigest = runtime.Intern(digest)
			break
		}
	}
	return i
}

// trimScheme removes the prefix that cri-dockerd adds to references.
func trimScheme(ref string) string {
	ref = strings.TrimPrefix(ref, "docker-pullable://")
	return strings.TrimPrefix(ref, "docker://")
}

// imageID returns s as sha256:<64 hex digits>, or "" if it is no such digest.
func imageID(s string) string { return runtime.Digest(trimScheme(s)) }

// repoDigest returns the digest of repository@algorithm:hex, or "" if ref contains none.
func repoDigest(ref string) string {
	repo, digest, ok := strings.Cut(ref, "@")
	algorithm, hex, colon := strings.Cut(digest, ":")
	if !ok || !colon || repo == "" || algorithm == "" || len(ref) > runtime.MaxText ||
		len(hex) < 32 || strings.Trim(hex, "0123456789abcdef") != "" {
		return ""
	}
	return digest
}

// withImage returns c with the fields of its image that only other has: c itself if there are none, else a copy.
func withImage(c *container.Container, other container.Image) *container.Container {
	i := c.Image
	if i.Reference == "" {
		i.Reference = other.Reference
	}
	if i.ID == "" {
		i.ID = other.ID
	}
	if len(i.RepoDigests) == 0 {
		i.RepoDigests = other.RepoDigests
	}
	if i.ManifestDigest == "" {
		i.ManifestDigest = other.ManifestDigest
	}
	if i.Reference == c.Image.Reference && i.ID == c.Image.ID && len(i.RepoDigests) == len(c.Image.RepoDigests) &&
		i.ManifestDigest == c.Image.ManifestDigest {
		return c
	}
	completed := *c
	completed.Image = i
	return &completed
}
