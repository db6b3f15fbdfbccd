// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/test/oracle"
)

// TestCostIsLinearInTheInput masks texts of 64 KiB that repeat what makes a rule search: opening quotes that nothing closes, nested
// quotes, names without a value, programs in the arguments of others, first words of patterns. An argument has at most 4 KiB.
func TestCostIsLinearInTheInput(t *testing.T) {
	r, err := New(nil)
	require.NoError(t, err)
	for _, unit := range []string{
		`"`, `'`, `\"`, `\\\"`, `"'`, `'\''`, `\`, `\'"`, `'"'"'`, " ", "a ", "a\n", "(", "()", "{ ", "$(", "`", "[", "{", ":", "=",
		"password=", "password:", `password="`, `"password":`, "password=$(", "password=/etc/x,", "password='\\''", "a=", "a:b@", "a:b@c,", "://", "a://b:", "a://b:c@",
		"--password ", "-p ", "-p x ", "-u a:b ", "= ", "redis-cli auth ", "vault kv put a b=c ", "kv put ", "mc alias set ", "docker login -p ", "sudo ", "sudo -S | ",
		"echo x | ", "echo x | chpasswd;", "chpasswd <<E\n", "<<E ", "<<< ", "expect assword; send x;", "set password ", "identified by ", "password '", "pgp_sym_encrypt(a,",
		"auth('a',", "basic ", "bearer a ", "aB3/", "AKIA", "ghp_", "eyJ", "xoxb-", ".", "hook", "-----BEGIN A-----", "sh -c '", "sh -c \"", "bash -c 'a b' ", "qpdf --encrypt ",
		"openssl passwd ", "openssl -key ", "net user ", "\xff", "İ", "PASSWORDſ",
	} {
		t.Run(unit, func(t *testing.T) {
			text := strings.Repeat(unit, (1<<16)/len(unit))
			oracle.Bound(t, oracle.Parsing(len(text)))
			r.String(text)
			r.Arguments(strings.Fields(text[:1<<13]))
		})
	}
}
