// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/gobwas/glob"
)

const (
	// MaxKept bounds how many labels, and how many annotations, of one container are kept.
	MaxKept = 128
	// maxKey bounds a key that is kept, in bytes.
	maxKey = 4096
)

// AllowList says which labels, or annotations, are kept: those whose key one of the patterns matches.
type AllowList []glob.Glob

// NewAllowList makes one of glob patterns, in which "*" matches any run of characters. The error names field.
func NewAllowList(field string, patterns []string) (AllowList, error) {
	out := make(AllowList, 0, len(patterns))
	for _, p := range patterns {
		g, err := glob.Compile(p)
		if err != nil {
			return nil, fmt.Errorf("%s: the pattern %q is not a glob: %w", field, p, err)
		}
		out = append(out, g)
	}
	return out, nil
}

// Keep gives what is allowed, keys and values as intern makes them: where there is more than MaxKept, what earlier patterns match
// first, then by the keys, so that each look keeps the same. Nil when there is none.
func (a AllowList) Keep(all map[string]string, intern func(string) string) map[string]string {
	if len(a) == 0 {
		return nil
	}
	var keys []string
	for k := range all {
		if len(k) <= maxKey && a.rank(k) < len(a) {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	if len(keys) > MaxKept {
		slices.SortFunc(keys, func(x, y string) int { return cmp.Or(a.rank(x)-a.rank(y), strings.Compare(x, y)) })
		keys = keys[:MaxKept]
	}
	kept := make(map[string]string, len(keys))
	for _, k := range keys {
		kept[intern(k)] = intern(all[k])
	}
	return kept
}

// rank numbers the first pattern that matches a key; there are as many patterns when none does.
func (a AllowList) rank(key string) int {
	for i, p := range a {
		if p.Match(key) {
			return i
		}
	}
	return len(a)
}
