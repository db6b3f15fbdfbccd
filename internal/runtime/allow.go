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

// AllowList selects the labels, or annotations, to keep: those whose key matches at least one pattern.
type AllowList []glob.Glob

// NewAllowList compiles glob patterns, in which "*" matches any sequence of characters. An error names field, the configuration
// key that the patterns come from.
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

// Keep returns the allowed entries, keys and values passed through Intern. If more than MaxKept are allowed, it prefers those
// that an earlier pattern matches, then those with the smaller key, so that every call keeps the same ones. It returns nil if
// none is allowed.
func (a AllowList) Keep(all map[string]string) map[string]string {
	if len(a) == 0 {
		return nil
	}
	var keys []string
	for k := range all {
		if a.Allows(k) {
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
		kept[Intern(k)] = Intern(all[k])
	}
	return kept
}

// Allows reports whether a key is allowed.
func (a AllowList) Allows(key string) bool { return len(key) <= maxKey && a.rank(key) < len(a) }

// rank returns the index of the first pattern that matches a key, or len(a) if none does.
func (a AllowList) rank(key string) int {
	for i, p := range a {
		if p.Match(key) {
			return i
		}
	}
	return len(a)
}
