// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// hash is a text that is usually a hexadecimal hash. To save room it is stored as a mark and base64: "#" for sha256:<hash>, "." for a
// bare hash, "=" and the text itself for anything else.
type hash string

func (h hash) MarshalText() ([]byte, error) {
	mark, digits := ".", string(h)
	if digest, ok := strings.CutPrefix(digits, "sha256:"); ok {
		mark, digits = "#", digest
	}
	if b, err := hex.DecodeString(digits); err == nil && len(b) > 0 && hex.EncodeToString(b) == digits {
		return []byte(mark + base64.RawStdEncoding.EncodeToString(b)), nil
	}
	return []byte("=" + string(h)), nil
}

func (h *hash) UnmarshalText(text []byte) error {
	if len(text) == 0 || text[0] == '=' {
		*h = hash(strings.TrimPrefix(string(text), "="))
		return nil
	}
	b, err := base64.RawStdEncoding.DecodeString(string(text[1:]))
	if err != nil {
		return fmt.Errorf("decode a hash: %w", err)
	}
	*h = hash(hex.EncodeToString(b))
	if text[0] == '#' {
		*h = "sha256:" + *h
	}
	return nil
}
