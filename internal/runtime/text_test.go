// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestDigestReturnsOnlySHA256(t *testing.T) {
	hex := strings.Repeat("0a", 32)
	for in, want := range map[string]string{
		"sha256:" + hex: "sha256:" + hex, hex: "sha256:" + hex, hex[1:]: "", hex + "00": "", strings.ToUpper(hex): "", "": "", "sha512:" + hex: "",
	} {
		assert.Equal(t, want, Digest(in), in)
	}
}

func TestClipCutsAtCharacterBoundary(t *testing.T) {
	for _, test := range []struct {
		in   string
		n    int
		want string
	}{
		{"ыы", 3, "ы"},
		{"ыы", 4, "ыы"},
		{"ы", 1, ""},
		{"a\xff", 5, "a\uFFFD"},
		{"", 0, ""},
	} {
		assert.Equal(t, test.want, Clip(test.in, test.n), "%q to %d bytes", test.in, test.n)
	}
}
