// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`^#{1,6} (.+)$`)
	// What GitHub leaves out of a heading when it makes the anchor.
	unanchored = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestMarkdownLinksLead checks links within the repository, with their anchors. It opens no link to another place.
func TestMarkdownLinksLead(t *testing.T) {
	links := 0
	for _, file := range files(t, ".md") {
		for _, line := range prose(t, file) {
			for _, match := range link.FindAllStringSubmatch(line, -1) {
				target, anchor, _ := strings.Cut(match[1], "#")
				if strings.Contains(target, ":") { // a URL
					continue
				}
				links++
				path := file
				if target != "" {
					path = filepath.Join(filepath.Dir(file), target)
				}
				if _, err := os.Stat(path); !assert.NoError(t, err, "%s links to %s", file, match[1]) || anchor == "" {
					continue
				}
				assert.Contains(t, anchors(t, path), anchor, "%s links to %s", file, match[1])
			}
		}
	}
	assert.Positive(t, links)
}

// TestEveryDecisionIsListed checks that the index of decisions links every record.
func TestEveryDecisionIsListed(t *testing.T) {
	dir := filepath.Join(repository, "docs", "decisions")
	index, err := os.ReadFile(filepath.Join(dir, "README.md"))
	require.NoError(t, err)
	records, err := filepath.Glob(filepath.Join(dir, "[0-9]*.md"))
	require.NoError(t, err)
	require.NotEmpty(t, records)
	for _, record := range records {
		assert.Contains(t, string(index), "("+filepath.Base(record)+")")
	}
}

// files returns the files of the repository with an extension.
func files(t *testing.T, extension string) []string {
	t.Helper()
	var found []string
	require.NoError(t, filepath.WalkDir(repository, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := entry.Name(); entry.IsDir() && (name == "build" || name == "testdata" || name == ".git") {
			return fs.SkipDir
		}
		if filepath.Ext(file) == extension {
			found = append(found, file)
		}
		return nil
	}))
	return found
}

// prose returns the lines of a Markdown file outside code fences.
func prose(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var lines []string
	fenced := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
			continue
		}
		if !fenced {
			lines = append(lines, line)
		}
	}
	return lines
}

// anchors returns the anchors that GitHub makes of the headings of a Markdown file.
func anchors(t *testing.T, file string) []string {
	t.Helper()
	var found []string
	for _, line := range prose(t, file) {
		if match := heading.FindStringSubmatch(line); match != nil {
			text := unanchored.ReplaceAllString(strings.ToLower(match[1]), "")
			found = append(found, strings.ReplaceAll(text, " ", "-"))
		}
	}
	return found
}
