// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backend/backendtest"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/quarantine"
)

func TestParseReplayFaultsNameFlagAndRemedy(t *testing.T) {
	good := []string{"--target", "https://b.example.com/base", "--tenant", "acme"}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no target":       {[]string{"--tenant", "acme", "dir"}, "--target is not a base URL"},
		"no URL":          {[]string{"--target", "http://u:s3cret@[::1", "--tenant", "acme", "dir"}, "--target is not a base URL"},
		"query":           {[]string{"--target", "http://b?token=s3cret", "--tenant", "acme", "dir"}, "--target is not a base URL"},
		"no tenant":       {[]string{"--target", "http://b", "dir"}, "--tenant"},
		"no paths":        {good, "nothing to replay"},
		"no events":       {append(good, "--max-batch-events", "0", "dir"), "--max-batch-events 0"},
		"tiny batches":    {append(good, "--max-batch-bytes", "1", "dir"), "--max-batch-bytes 1"},
		"no time":         {append(good, "--timeout", "0s", "dir"), "--timeout 0s"},
		"path with query": {append(good, "--events-path", "/x?y", "dir"), "--events-path"},
		"facts' path":     {append(good, "--facts-path", "x", "dir"), "--facts-path"},
		"facts' target":   {append(good, "--facts-target", "ftp://u:s3cret@b", "dir"), "--facts-target is not a base URL"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseReplay(tc.args, io.Discard)
			require.ErrorContains(t, err, tc.want)
			assert.NotContains(t, err.Error(), "s3cret")
		})
	}
	var out bytes.Buffer
	_, err := parseReplay([]string{"--help"}, &out)
	require.ErrorIs(t, err, flag.ErrHelp)
	assert.Contains(t, out.String(), "Exits with 1 when some stay")
}

func TestReplayErrorsHideCredentials(t *testing.T) {
	c, err := parseReplay([]string{"--target", "http://u:s3cret@b/base", "--tenant", "acme", "dir"}, io.Discard)
	require.NoError(t, err)
	s, err := c.sender()
	require.NoError(t, err)
	assert.Equal(t, "http://u:s3cret@b/base/api/v1/runtime/events", s.Events.URL)
	assert.Equal(t, "http://b/base/api/v1/runtime/events", s.Events.Shown)
	assert.Equal(t, "http://u:s3cret@b/base/signals/runtime-facts/ndjson", s.Facts.URL)
	assert.Equal(t, "http://b/base/signals/runtime-facts/ndjson", s.Facts.Shown)
}

// replayTo runs the program and returns its exit code and output.
func replayTo(t *testing.T, p *process, args ...string) (code int, out string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"replay", "--target", p.url}, args...)...)
	cmd.Env = append(os.Environ(), runAsMain+"=1")
	raw, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), string(raw)
	}
	require.NoError(t, err)
	return 0, string(raw)
}

func TestReplaySendsQuarantinedEvents(t *testing.T) {
	base := t.TempDir()
	dir, token := filepath.Join(base, "q"), filepath.Join(base, "token")
	require.NoError(t, os.WriteFile(token, []byte("s3cret\n"), 0o600))
	d := quarantine.New(quarantine.Options{Directory: dir, MaxFileBytes: 1 << 20, MaxTotalBytes: 2 << 20})
	var want []string
	for i := range 3 {
		e := backendtest.NewLife(i).Started(1)
		if i == 2 {
			e.Kind = "CONTAINER_DREAM"
		} else {
			want = append(want, e.EventID)
		}
		_, err := d.Add([]quarantine.Entry{{Envelope: backendapi.AppendEnvelope(nil, &e), Reason: "422", Status: 422}})
		require.NoError(t, err)
	}
	open := start(t, "--db", filepath.Join(base, "open.db"))
	closed := start(t, "--db", filepath.Join(base, "closed.db"), "--token-file", token)

	code, out := replayTo(t, closed, "--tenant", "acme", dir)
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "3 not sent")
	assert.Contains(t, out, "check --token-file")

	code, out = replayTo(t, closed, "--tenant", "acme", "--token-file", token, dir)
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "1 files: 2 events stored, 0 known before, 0 facts stored, 1 refused again, 0 not sent, 0 lines unreadable, 0 torn")
	assert.Contains(t, out, "something remains in quarantine")
	assert.NotContains(t, out, "s3cret")

	names, err := quarantine.Files(dir)
	require.NoError(t, err)
	require.Len(t, names, 1)
	raw, err := os.ReadFile(names[0])
	require.NoError(t, err)
	assert.Equal(t, 1, strings.Count(string(raw), "\n"))
	require.NoError(t, os.WriteFile(names[0], bytes.ReplaceAll(raw, []byte("CONTAINER_DREAM"), []byte("CONTAINER_START")), 0o600)) // the fix
	code, out = replayTo(t, closed, "--tenant", "acme", "--token-file", token, names[0])
	assert.Equal(t, 0, code, out)
	assert.NoFileExists(t, names[0])
	assert.Empty(t, open.events(t))
	res, err := http.NewRequestWithContext(t.Context(), http.MethodGet, closed.url+backendapi.EventsPath[1:], http.NoBody)
	require.NoError(t, err)
	res.Header.Set("Authorization", "Bearer s3cret")
	answer, err := http.DefaultClient.Do(res)
	require.NoError(t, err)
	defer http.DefaultClient.CloseIdleConnections()
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	for _, id := range want {
		assert.Contains(t, string(body), id)
	}

	code, _ = replayTo(t, closed, "--tenant", "acme")
	assert.Equal(t, 2, code, "wrong arguments")
}

func TestReplaySendsFactsToFactsTarget(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "q")
	d := quarantine.New(quarantine.Options{Directory: filepath.Join(dir, quarantine.FactsDirectory), MaxFileBytes: 1 << 20, MaxTotalBytes: 2 << 20})
	for _, hits := range []string{"3", "0"} { // no backend accepts the second
		_, err := d.Add([]quarantine.Entry{{Reason: "422", Status: 422, Envelope: []byte(`{"event":{"callgraphId":"cg","eventId":"` + hits +
			`","fact":{"hitCount":` + hits + `,"metadata":{"path":"/lib/libc.so.6"},"symbolId":"sym:binary:1"},"subject":{"imageDigest":"sha256:ab"}},"schemaVersion":"` + backendapi.FactSchemaVersion + `"}`)}})
		require.NoError(t, err)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "other.txt"), nil, 0o600))
	p := start(t, "--db", filepath.Join(t.TempDir(), "x.db"))
	code, out := replayTo(t, p, "--tenant", "acme", dir)
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "0 events stored, 0 known before, 1 facts stored, 1 refused again")
	code, out = replayTo(t, p, "--tenant", "acme", dir)
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "0 facts stored, 1 refused again")

	answer, err := http.Get(p.url + backendapi.FactsPath[1:] + "?imageDigest=sha256:ab")
	require.NoError(t, err)
	defer http.DefaultClient.CloseIdleConnections()
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	assert.Contains(t, string(body), `"hitCount":3`)
	assert.Contains(t, string(body), "/lib/libc.so.6")

	names, err := quarantine.Files(filepath.Join(dir, quarantine.FactsDirectory))
	require.NoError(t, err)
	for _, name := range names {
		raw, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(name, bytes.ReplaceAll(raw, []byte(`"hitCount":0`), []byte(`"hitCount":2`)), 0o600)) // the fix
	}
	code, out = replayTo(t, p, "--tenant", "acme", dir)
	assert.Equal(t, 0, code, out)
	answer2, err := http.Get(p.url + backendapi.FactsPath[1:] + "?imageDigest=sha256:ab")
	require.NoError(t, err)
	defer answer2.Body.Close()
	body, err = io.ReadAll(answer2.Body)
	require.NoError(t, err)
	assert.Contains(t, string(body), `"hitCount":5`)
}
