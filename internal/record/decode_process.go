// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// loadedLibs decodes the loaded libraries, which a later revision of a start carries.
func loadedLibs(v pcommon.Value) []backendapi.LoadedLib {
	if v.Type() != pcommon.ValueTypeSlice {
		return nil
	}
	var out []backendapi.LoadedLib
	for _, v := range v.Slice().All() {
		if v.Type() != pcommon.ValueTypeMap || len(out) == maxLibsPerEvent {
			continue
		}
		var lib backendapi.LoadedLib
		for key, v := range v.Map().All() {
			switch key {
			case "path":
				lib.Path = prose(v)
			case "sha256":
				if sum := text(v); backendapi.IsSHA256(sum) {
					lib.SHA256 = sum
				}
			case "build_id":
				lib.BuildID = buildID(v)
			case "size":
				if n, ok := u64(v); ok && n < 1<<53 {
					lib.Size = n
				}
			}
		}
		if lib.Path != "" {
			out = append(out, lib)
		}
	}
	return out
}

// arguments decodes a command line.
func arguments(v pcommon.Value) []string {
	if v.Type() != pcommon.ValueTypeSlice {
		return nil
	}
	var out []string
	for _, arg := range v.Slice().All() {
		if len(out) < maxArguments {
			out = append(out, within(text(arg), backendapi.MaxArgument))
		}
	}
	return out
}

// maxArguments is the most arguments that an event carries; further ones are omitted.
const maxArguments = 4096
