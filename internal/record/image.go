// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"strings"

	"github.com/distribution/reference"
)

// splitReference splits an image reference into its name and tag. Both are empty for a reference without a name: a bare digest, or
// text that is not a reference. Names stay as they were requested ("nginx", not "docker.io/library/nginx").
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

// isBareDigest reports whether ref is a digest or an image id: the grammar of references parses "sha256:<hex>" as the name "sha256"
// with a tag.
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

// joinReference returns the reference that name and tag express.
func joinReference(name, tag string) string {
	if tag == "" {
		return name
	}
	return name + ":" + tag
}

// digestOf returns the digest in "repository@sha256:…", or "" without one.
func digestOf(repoDigest string) string {
	_, digest, ok := strings.Cut(repoDigest, "@")
	if !ok {
		return ""
	}
	return digest
}
