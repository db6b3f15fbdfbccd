// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
)

// ErrCursor means that a cursor did not come from this store.
var ErrCursor = errors.New("the cursor is not one that this API returned; start again without it")

// maxCursor is the longest cursor, in characters: that of a fact whose ids have 4,096 characters of four bytes each, and its subject.
const maxCursor = 56 << 10

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

// textsForm is the first byte of a cursor of texts; those in JSON begin with { or [.
const textsForm = 't'

// encodeTexts returns a cursor of texts from outside. Unlike JSON it is not longer for some characters than for others.
func encodeTexts(texts []string) string {
	raw := []byte{textsForm}
	for _, t := range texts {
		raw = binary.AppendUvarint(raw, uint64(len(t)))
		raw = append(raw, t...)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// decodeTexts decodes exactly as many texts as to has.
func decodeTexts(cursor string, to []string) error {
	if len(cursor) > maxCursor {
		return ErrCursor
	}
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(raw) == 0 || raw[0] != textsForm {
		return ErrCursor
	}
	raw = raw[1:]
	for i := range to {
		n, size := binary.Uvarint(raw)
		if size <= 0 || n > uint64(len(raw)-size) {
			return ErrCursor
		}
		raw = raw[size:]
		to[i], raw = string(raw[:n]), raw[n:]
	}
	if len(raw) > 0 {
		return ErrCursor
	}
	return nil
}
