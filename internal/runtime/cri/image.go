// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/container"
)

// imageOf sorts out what the three image fields of CRI hold, which differs by runtime and by call:
//
//   - spec.image: a reference, or the image id, which is what the kubelet asks a runtime with;
//   - spec.user_specified_image: what stands in the pod's spec, where the kubelet is new enough to pass it on;
//   - ref: repository@digest, or a bare image id;
//   - id: the image id; CRI-O's has no sha256: in front.
func imageOf(spec *runtimeapi.ImageSpec, ref, id string) container.Image {
	ref = unscheme(ref)
	var i container.Image
	for _, s := range []string{id, ref, spec.GetImage()} {
		if i.ID = imageID(s); i.ID != "" {
			break
		}
	}
	for _, s := range []string{spec.GetUserSpecifiedImage(), spec.GetImage(), ref} {
		if s = unscheme(s); s != "" && imageID(s) == "" {
			i.Reference = intern(s)
			break
		}
	}
	for _, s := range []string{ref, i.Reference} {
		if digest := repoDigest(s); digest != "" {
			i.RepoDigests = []string{intern(s)}
			i.ManifestDigest = intern(digest)
			break
		}
	}
	return i
}

// unscheme takes off what cri-dockerd puts in front of references.
func unscheme(ref string) string {
	ref = strings.TrimPrefix(ref, "docker-pullable://")
	return strings.TrimPrefix(ref, "docker://")
}

// imageID gives s as sha256:<64 hex>, or "" when it is no such digest.
func imageID(s string) string {
	s = unscheme(s)
	hex := strings.TrimPrefix(s, "sha256:")
	if len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "" {
		return ""
	}
	return intern("sha256:" + hex)
}

// repoDigest gives the digest of repository@algorithm:hex, or "" when ref has none.
func repoDigest(ref string) string {
	repo, digest, ok := strings.Cut(ref, "@")
	algorithm, hex, colon := strings.Cut(digest, ":")
	if !ok || !colon || repo == "" || algorithm == "" || len(ref) > maxText ||
		len(hex) < 32 || strings.Trim(hex, "0123456789abcdef") != "" {
		return ""
	}
	return digest
}

// complete gives c with what other knows of its image and c does not: c itself when that is nothing, else a copy.
func complete(c *container.Container, other container.Image) *container.Container {
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
