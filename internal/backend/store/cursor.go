// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/base64"
	"encoding/json"
	"errors"
)

// ErrCursor means that a cursor did not come from this store.
var ErrCursor = errors.New("the cursor is not one that this API returned; start again without it")

const maxCursor = 2048

// encodeCursor returns an opaque, URL-safe cursor for a place in a list.
func encodeCursor(place any) string {
	raw, err := json.Marshal(place)
	if err != nil {
		return "" // not reached: places are plain structs
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

func decodeCursor(cursor string, place any) error {
	if len(cursor) > maxCursor {
		return ErrCursor
	}
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || json.Unmarshal(raw, place) != nil {
		return ErrCursor
	}
	return nil
}
