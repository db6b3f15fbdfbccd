// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backendapi

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
)

// The ids of facts. docs/runtime-facts.md names the source of each rule and our interpretation of it.

// leastBuildID is the least length of a usable GNU build id in hexadecimal digits: 16 bytes. Shorter ones (lld's fast, an
// 8-byte hash) are not unique enough to identify files.
const leastBuildID = 32

// GNUBuildID returns the contents of .note.gnu.build-id, in hexadecimal, with its prefix; empty for one that is too short to
// identify a file or is not hexadecimal.
func GNUBuildID(hex string) string {
	hex = strings.ToLower(hex)
	if len(hex) < leastBuildID || len(hex)%2 != 0 || !isLowerHex(hex, len(hex)) {
		return ""
	}
	return "gnu-build-id:" + hex
}

// GoBuildID returns the id that the Go linker writes, with its prefix; empty for an empty id. The platform has no rule for it; the
// prefix is ours.
func GoBuildID(id string) string {
	if id == "" || !isGraphic(id) {
		return ""
	}
	return "go-build-id:" + id
}

// PEGUID returns the GUID of a PE file's debug directory, with dashes, with its prefix; empty for what is not a GUID.
func PEGUID(guid string) string {
	if !isUUID(guid) {
		return ""
	}
	return "pe-guid:" + strings.ToLower(guid)
}

// Segment is a part of the code of a file. A whole file has an empty section and no address.
type Segment struct {
	Format  string // elf, pe, jar …
	BuildID string // with its prefix; empty if absent or unknown
	SHA256  string // of the file, 64 lower-case hexadecimal digits; empty if unknown
	Path    string // in the container; identifies a file if nothing else is known
	Section string
	Address string // hexadecimal, 0x…; empty for the whole section or file
	Size    uint64 // in bytes; 0 if unknown
	Name    string // of the symbol; for a whole file its base name
	Linkage string // of the symbol; empty for a whole file
}

// Identity returns what the ids of the segment are derived from: file_hash, build_id or path_hash.
func (s *Segment) Identity() string {
	switch {
	case s.SHA256 != "":
		return "file_hash"
	case s.BuildID != "":
		return "build_id"
	default:
		return "path_hash"
	}
}

// file appends the identity of the file: its hash, else the build id, else the hash of its path.
func (s *Segment) file(dst []byte) []byte {
	switch {
	case s.SHA256 != "":
		return append(dst, s.SHA256...)
	case s.BuildID != "":
		return append(dst, s.BuildID...)
	default:
		sum := sha256.Sum256([]byte(s.Path))
		return appendHex(dst, sum[:])
	}
}

// SymbolID is sym:binary:… over file hash, section, address, name and linkage (the address form, S35 in
// docs/runtime-facts.md; the older one hashed build id, section and name).
func (s *Segment) SymbolID() string {
	var scratch [512]byte
	b := s.file(scratch[:0])
	b = append(append(b, 0), s.Section...)
	b = append(append(b, 0), s.Address...)
	b = append(append(b, 0), s.Name...)
	b = append(append(b, 0), s.Linkage...)
	return digestID("sym:binary:", b)
}

// CodeID is code:binary:… over format, build id or file hash, section, address, size and the hash of the code, which for a
// whole file is the file's.
func (s *Segment) CodeID() string {
	var scratch [512]byte
	b := append(scratch[:0], s.Format...)
	b = append(b, 0)
	if s.BuildID != "" {
		b = append(b, s.BuildID...)
	} else {
		b = s.file(b)
	}
	b = append(append(b, 0), s.Section...)
	b = append(append(b, 0), s.Address...)
	b = append(b, 0)
	if s.Size > 0 {
		b = strconv.AppendUint(b, s.Size, 10)
	}
	b = append(append(b, 0), s.SHA256...)
	return digestID("code:binary:", b)
}

// GoModuleSymbolID is sym:go:… over module path and version. The platform's rule for Go modules is not public; this one is ours.
func GoModuleSymbolID(path, version string) string {
	var scratch [256]byte
	b := append(scratch[:0], path...)
	b = append(append(b, 0), version...)
	return digestID("sym:go:", b)
}

// digestID is a prefix and the SHA-256 of what, base64url without padding.
func digestID(prefix string, what []byte) string {
	sum := sha256.Sum256(what)
	var scratch [64]byte
	b := append(scratch[:0], prefix...)
	b = base64.RawURLEncoding.AppendEncode(b, sum[:])
	return string(b)
}

func appendHex(dst, raw []byte) []byte {
	for _, c := range raw {
		dst = append(dst, hexDigits[c>>4], hexDigits[c&0xf])
	}
	return dst
}

// FactsID derives the id of a request with facts from all its contents, so that a retry keeps the id.
func FactsID(callgraphID, subjectKey string, body []byte) string {
	h := sha256.New()
	h.Write([]byte(callgraphID))
	h.Write([]byte{0})
	h.Write([]byte(subjectKey))
	h.Write([]byte{0})
	h.Write(body)
	return BatchIDOfKeys(h.Sum(nil))
}
