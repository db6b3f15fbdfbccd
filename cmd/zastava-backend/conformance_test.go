// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backend/conformance"
)

func TestParseConformanceFaultsNameFlag(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no target":        {nil, "--target is not a base URL"},
		"more arguments":   {[]string{"--target", "http://b", "b"}, `"b" is not a flag`},
		"unknown kinds":    {[]string{"--target", "http://b", "--event-kinds", "some"}, `--event-kinds "some"`},
		"half a key pair":  {[]string{"--target", "http://b", "--client-cert", "c.pem"}, "--client-cert and --client-key go together"},
		"no such tenant":   {[]string{"--target", "http://b", "--tenant", "a b"}, "--tenant"},
		"a target's query": {[]string{"--target", "http://b?key=s3cret"}, "--target is not a base URL"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseConformance(tc.args, io.Discard)
			require.ErrorContains(t, err, tc.want)
			assert.NotContains(t, err.Error(), "s3cret")
		})
	}
	var out bytes.Buffer
	_, err := parseConformance([]string{"--help"}, &out)
	require.ErrorIs(t, err, flag.ErrHelp)
	assert.Contains(t, out.String(), "Exits with 1 when a check fails")
}

// conform runs the program and returns its exit code and output.
func conform(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"conformance"}, args...)...)
	cmd.Env = append(os.Environ(), runAsMain+"=1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// TestConformanceCommandPassesAgainstRealProcess checks the real backend by the real command, over TLS with certificates and a token.
func TestConformanceCommandPassesAgainstRealProcess(t *testing.T) {
	dir := t.TempDir()
	cert, key, tokens := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "tokens")
	selfSigned(t, cert, key)
	require.NoError(t, os.WriteFile(tokens, []byte("s3cret acme\n"), 0o600))
	p := start(t, "--db", filepath.Join(dir, "x.db"), "--tls-cert", cert, "--tls-key", key, "--client-ca", cert, "--token-file", tokens)
	reach := []string{"--target", p.url, "--ca-file", cert, "--client-cert", cert, "--client-key", key, "--token-file", tokens}

	code, out, errs := conform(t, append(reach, "--tenant", "acme", "--json")...)
	require.Equal(t, 0, code, "%s%s", out, errs)
	var report struct {
		Conforms bool                 `json:"conforms"`
		Results  []conformance.Result `json:"results"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &report))
	assert.True(t, report.Conforms)
	assert.Greater(t, len(report.Results), 40)
	assert.NotContains(t, out+errs, "s3cret")

	code, out, errs = conform(t, append(reach, "--tenant", "globex", "--only", "accepts,no-token")...)
	assert.Equal(t, 1, code, "the token is of another tenant")
	assert.Contains(t, out, "fail    MUST   accepts ")
	assert.Contains(t, out, "pass    MUST   no-token ")
	assert.Contains(t, errs, "does not conform")
}

func TestConformanceCommandFailsAgainstOtherServer(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	code, out, _ := conform(t, "--target", srv.URL)
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "does not conform")
	code, _, errs := conform(t, "--target", srv.URL, "--only", "everything")
	assert.Equal(t, 1, code)
	assert.Contains(t, errs, `no check "everything"`)
}
