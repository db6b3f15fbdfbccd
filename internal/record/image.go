// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"strings"

	"github.com/distribution/reference"
)

// splitReference splits an image reference as asked for into its name and tag. Both are empty where the reference has no
// name: a bare digest, or text that is no reference. Names are kept as asked ("nginx", not "docker.io/library/nginx").
func splitReference(ref string) (name, tag string) {
	if isBareDigest(ref) {
		return "", ""
	}
	parsed, err := reference.Parse(ref)
	if err != nil {
		return "", ""
	}
	named, ok := parsed.(reference.Named)
	if !ok {
		return "", ""
	}
	if tagged, ok := parsed.(reference.Tagged); ok {
		tag = tagged.Tag()
	}
	return named.Name(), tag
}

// isBareDigest tells digests and image ids apart from names: the grammar of references takes "sha256:<hex>" for the name
// "sha256" with a tag.
func isBareDigest(ref string) bool {
	algorithm, hex, ok := strings.Cut(ref, ":")
	if !ok {
		hex = ref
	} else if algorithm != "sha256" && algorithm != "sha512" && algorithm != "sha384" {
		return false
	}
	if len(hex) < 64 {
		return false
	}
	for _, c := range []byte(hex) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// joinReference is the reference that name and tag can express.
func joinReference(name, tag string) string {
	if tag == "" {
		return name
	}
	return name + ":" + tag
}

// digestOf gives the digest of "repository@sha256:…", and "" where there is none.
func digestOf(repoDigest string) string {
	_, digest, ok := strings.Cut(repoDigest, "@")
	if !ok {
		return ""
	}
	return digest
}
