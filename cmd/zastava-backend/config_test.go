// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func noEnv(string) string { return "" }

func TestParseReturnsDefaultsWithoutFlags(t *testing.T) {
	c, err := parse(nil, noEnv, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, "127.0.0.1:8686", c.listen)
	assert.Equal(t, 256, c.backend.MaxBatchEvents)
	assert.Equal(t, int64(1<<20), c.backend.MaxBatchBytes)
	assert.Equal(t, 7*24*time.Hour, c.backend.Retention)
	assert.Zero(t, c.backend.Rate)
	assert.True(t, c.backend.LocalHostOnly, "without a token, this machine only")
}

func TestFlagsOverrideTheEnvironment(t *testing.T) {
	env := map[string]string{"ZASTAVA_BACKEND_LISTEN": "0.0.0.0:1", "ZASTAVA_BACKEND_MAX_BATCH_EVENTS": "7"}
	c, err := parse([]string{"--listen", ":9"}, func(k string) string { return env[k] }, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, ":9", c.listen)
	assert.Equal(t, 7, c.backend.MaxBatchEvents)
	assert.False(t, c.backend.LocalHostOnly)
}

func TestParseFaultsNameFlagAndRemedy(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	require.NoError(t, os.WriteFile(empty, []byte("# only a comment\n\n"), 0o600))
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"key without certificate": {[]string{"--tls-key", "x"}, "--tls-cert and --tls-key go together"},
		"client CA without TLS":   {[]string{"--client-ca", "x"}, "--client-ca needs --tls-cert"},
		"no port":                 {[]string{"--listen", "localhost"}, "use host:port"},
		"negative retention":      {[]string{"--retention", "-1h"}, "0 keeps events without limit"},
		"rate that is no number":  {[]string{"--rate", "NaN"}, "--rate"},
		"no events":               {[]string{"--max-batch-events", "0"}, "--max-batch-events 0"},
		"tiny batches":            {[]string{"--max-batch-bytes", "10"}, "--max-batch-bytes 10"},
		"tiny database":           {[]string{"--max-db-bytes", "4096"}, "--max-db-bytes 4096: must be at least 67108864"},
		"unknown policy":          {[]string{"--when-full", "panic"}, "must be oldest-out or refuse"},
		"hurried requests":        {[]string{"--request-timeout", "1ms"}, "--request-timeout 1ms"},
		"stray argument":          {[]string{"serve"}, `"serve" is not a flag`},
		"no token file":           {[]string{"--token-file", filepath.Join(dir, "none")}, "--token-file"},
		"no token in the file":    {[]string{"--token-file", empty}, "holds no token"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(tc.args, noEnv, io.Discard)
			require.ErrorContains(t, err, tc.want)
		})
	}
	_, err := parse([]string{"--retention", "-1h", "--max-batch-events", "0"}, func(k string) string {
		if k == "ZASTAVA_BACKEND_RATE" {
			return "fast"
		}
		return ""
	}, io.Discard)
	for _, want := range []string{"--retention", "--max-batch-events", "ZASTAVA_BACKEND_RATE"} {
		require.ErrorContains(t, err, want, "all faults at once")
	}
}

func TestEveryHostNameIsServedWithTokenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(file, []byte("# old\r\nfirst\r\n\n  second acme  "), 0o600))
	c, err := parse([]string{"--token-file", file}, noEnv, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, file, c.backend.TokenFile)
	assert.False(t, c.backend.LocalHostOnly)
}

func TestHelpListsEveryFlag(t *testing.T) {
	var out bytes.Buffer
	_, err := parse([]string{"--help"}, noEnv, &out)
	require.ErrorIs(t, err, flag.ErrHelp)
	for _, name := range []string{
		"listen", "db", "tls-cert", "tls-key", "client-ca", "token-file", "retention", "rate", "max-batch-events", "max-batch-bytes", "request-timeout", "max-db-bytes", "when-full",
	} {
		assert.Contains(t, out.String(), "-"+name)
	}
}
