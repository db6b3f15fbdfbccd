// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/fileaccess"
	"github.com/zastava-otel/zastava/internal/quarantine"
)

// onlyFile returns the path of the only file in dir, and its lines.
func onlyFile(t *testing.T, dir string) (name string, lines []string) {
	t.Helper()
	names, err := quarantine.Files(dir)
	require.NoError(t, err)
	require.Len(t, names, 1)
	raw, err := os.ReadFile(names[0])
	require.NoError(t, err)
	return names[0], strings.SplitAfter(string(raw), "\n")
}

// A file with the original name of a claimed file does not overwrite it.
func TestFileIsKeptWhenItsClaimExistsToo(t *testing.T) {
	dir := fill(t, 4)
	name, lines := onlyFile(t, dir)
	require.NoError(t, os.WriteFile(name+claimed, []byte(strings.Join(lines[:2], "")), 0o600))
	require.NoError(t, os.WriteFile(name, []byte(strings.Join(lines[2:], "")), 0o600))
	b := newBackend(t, acceptAll)
	sum, err := replayAll(t, b, dir)
	require.ErrorContains(t, err, "move one of them away")
	assert.Equal(t, 2, sum.Stored)
	_, err = replayAll(t, b, dir)
	require.NoError(t, err)
	assert.ElementsMatch(t, ids(0, 4), b.stored)
	assert.Empty(t, remaining(t, dir))
}

// The original name of a claimed file may be used again while it is sent. Neither file overwrites the other.
func TestFileIsKeptWhenItAppearsDuringTheReplay(t *testing.T) {
	dir := fill(t, 3)
	name, lines := onlyFile(t, dir)
	require.NoError(t, os.WriteFile(name, []byte(strings.Join(lines[:2], "")), 0o600))
	b := newBackend(t, func([]string, http.ResponseWriter) ([]string, bool) {
		_ = os.WriteFile(name, []byte(lines[2]), 0o600)
		return ids(1, 2), false
	})
	sum, err := replayAll(t, b, dir)
	require.NoError(t, err)
	assert.Equal(t, Summary{Files: 1, Stored: 1, Refused: 1}, sum)
	b.answer = acceptAll
	_, _ = replayAll(t, b, dir) // sends the claim; the other file is sent by the next replay
	_, err = replayAll(t, b, dir)
	require.NoError(t, err)
	assert.ElementsMatch(t, ids(0, 3), b.stored)
}

func TestUnreadableLinesStayAndTornOnesAreRemoved(t *testing.T) {
	dir := fill(t, 2)
	names, err := quarantine.Files(dir)
	require.NoError(t, err)
	raw, err := os.ReadFile(names[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(names[0], append([]byte("nonsense\n"), append(raw, raw[:10]...)...), 0o600))
	b := newBackend(t, acceptAll)
	sum, err := replayAll(t, b, names[0])
	require.NoError(t, err)
	assert.Equal(t, Summary{Files: 1, Stored: 2, Unreadable: 1, Torn: 1}, sum)
	raw, err = os.ReadFile(names[0])
	require.NoError(t, err)
	assert.Equal(t, "nonsense\n", string(raw))
}

func TestReplayFinishesAnInterruptedOne(t *testing.T) {
	dir := fill(t, 8)
	names, err := quarantine.Files(dir)
	require.NoError(t, err)
	require.NoError(t, os.Rename(names[0], names[0]+claimed))
	require.NoError(t, os.WriteFile(names[0]+claimed+scratch, []byte("half a co"), 0o600))
	b := newBackend(t, func([]string, http.ResponseWriter) ([]string, bool) { return ids(1, 2), false })
	sum, err := replayAll(t, b, dir)
	require.NoError(t, err)
	assert.Equal(t, 7, sum.Stored)
	assert.Equal(t, ids(1, 2), remaining(t, dir))
}

func TestReplayWritesThroughNoLinkAndWaitsForNoPipe(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege")
	}
	dir := fill(t, 8)
	names, err := quarantine.Files(dir)
	require.NoError(t, err)
	target := filepath.Join(t.TempDir(), "target")
	require.NoError(t, os.WriteFile(target, []byte("content"), 0o600))
	require.NoError(t, os.Symlink(target, names[0]+claimed+scratch))
	b := newBackend(t, func([]string, http.ResponseWriter) ([]string, bool) { return ids(1, 2), false })
	_, err = replayAll(t, b, dir)
	require.NoError(t, err)
	assert.Equal(t, ids(1, 2), remaining(t, dir))
	raw, err := os.ReadFile(target)
	require.NoError(t, err)
	assert.Equal(t, "content", string(raw))

	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink(target, link))
	_, err = replayAll(t, b, link)
	require.ErrorIs(t, err, fileaccess.ErrNotRegular)
	_, err = os.Lstat(link)
	require.NoError(t, err, "it was not renamed")
}

// The exporter writes to the same file at each request of the replay.
func TestNothingIsLostWhenTheExporterWritesDuringTheReplay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "quarantine")
	d := quarantine.New(quarantine.Options{Directory: dir, MaxFileBytes: 1 << 20, MaxTotalBytes: 2 << 20})
	n := 0
	put := func() {
		_, err := d.Add([]quarantine.Entry{{Envelope: fmt.Appendf(nil, `{"event":{"eventId":"event-%03d","revision":1},"schemaVersion":"v1"}`, n)}})
		require.NoError(t, err)
		n++
	}
	for range 30 {
		put()
	}
	b := newBackend(t, func(ids []string, _ http.ResponseWriter) ([]string, bool) {
		put()
		return ids[:1], false
	})
	sum, err := replayAll(t, b, dir)
	require.NoError(t, err)
	put()
	assert.Equal(t, 30, sum.Stored+sum.Refused)
	assert.ElementsMatch(t, ids(0, n), append(b.stored, remaining(t, dir)...))
}
