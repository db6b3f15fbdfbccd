// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"fmt"

	"github.com/gobwas/glob"

	"github.com/zastava-otel/zastava/internal/container"
)

// Match selects containers by glob: * matches any sequence of characters, ? one, {a,b} either. A container matches when, for every
// list that is not empty, one of its patterns matches.
type Match struct {
	Namespaces []string
	Pods       []string
	Containers []string
	Images     []string // the image reference as requested
}

// Filter selects the containers that are observed: those that match some include (all if there is none) and no exclude.
type Filter struct {
	include, exclude []match
}

type match struct{ namespaces, pods, containers, images []glob.Glob }

// NewFilter compiles a filter. The error names the field and the pattern that is invalid.
func NewFilter(include, exclude []Match) (*Filter, error) {
	in, err := compile("include", include)
	if err != nil {
		return nil, err
	}
	ex, err := compile("exclude", exclude)
	if err != nil {
		return nil, err
	}
	return &Filter{include: in, exclude: ex}, nil
}

// Allows reports whether a container is observed. A nil Filter allows all.
func (f *Filter) Allows(c *container.Container) bool {
	if f == nil {
		return true
	}
	for i := range f.exclude {
		if f.exclude[i].matches(c) {
			return false
		}
	}
	for i := range f.include {
		if f.include[i].matches(c) {
			return true
		}
	}
	return len(f.include) == 0
}

func (m *match) matches(c *container.Container) bool {
	return anyMatches(m.namespaces, c.Pod.Namespace) && anyMatches(m.pods, c.Pod.Name) && anyMatches(m.containers, c.Name) &&
		anyMatches(m.images, c.Image.Reference)
}

func anyMatches(globs []glob.Glob, s string) bool {
	for _, g := range globs {
		if g.Match(s) {
			return true
		}
	}
	return len(globs) == 0
}

func compile(field string, matches []Match) ([]match, error) {
	out := make([]match, len(matches))
	for i, m := range matches {
		lists := []struct {
			name     string
			patterns []string
			into     *[]glob.Glob
		}{
			{"namespaces", m.Namespaces, &out[i].namespaces},
			{"pods", m.Pods, &out[i].pods},
			{"containers", m.Containers, &out[i].containers},
			{"images", m.Images, &out[i].images},
		}
		empty := true
		for _, l := range lists {
			for j, p := range l.patterns {
				g, err := glob.Compile(p)
				if err != nil {
					return nil, fmt.Errorf("%s[%d].%s[%d]: %q is not a glob: %w", field, i, l.name, j, p, err)
				}
				*l.into = append(*l.into, g)
				empty = false
			}
		}
		if empty {
			return nil, fmt.Errorf("%s[%d]: is empty and would match everything; name namespaces, pods, containers or images, or remove it", field, i)
		}
	}
	return out, nil
}
