// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"regexp"
	"strings"
)

// plainValues are not secret under any name.
var plainValues = words("true false yes no on off none null nil stdin file env")

// plainAuth are values of settings that select how to authenticate.
var plainAuth = words(`basic digest oauth oauth2 oidc ldap saml token password pam md5 plain login scram-sha-256 scram required optional
	default auto enabled disabled always never public key cert mtls tls trust peer ident ntlm kerberos gssapi spnego bearer sspi jwt
	iam aws azure gcp github google local system user host open shared wpa wpa2 anonymous cram-md5 x509 sha md5 sha1 sha256`)

// plainValue reports whether a value is not a secret under any name: a boolean, a reference to a variable, a substitution, whose command is
// masked on its own, or a file.
func plainValue(s string) bool {
	if s == "" || plainValues[strings.ToLower(s)] {
		return true
	}
	switch s[0] {
	case '$':
		return len(s) == 1 || s[1] == '(' || variable.MatchString(s)
	case '`':
		return true
	case '%':
		return len(s) > 2 && s[len(s)-1] == '%' && windowsVariable.MatchString(s)
	case '{', '<':
		return strings.HasPrefix(s, "{{") || templateName.MatchString(s)
	case '/', '~', '.':
		return isFile(s)
	}
	return strings.ContainsAny(s, "./:") && isFile(s)
}

var (
	variable        = regexp.MustCompile(`^\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*\}|[0-9@*#])$`)
	windowsVariable = regexp.MustCompile(`^%[A-Za-z_][A-Za-z0-9_]*%$`)
	templateName    = regexp.MustCompile(`^<[a-z][a-z_ -]*>$`)
	// file is a path with a well-known first directory, below one, or a name with the ending of a file that may have a secret.
	file = regexp.MustCompile(`^@?(?:(?:file|fileb|env|pass|vault|secretsmanager|arn)://?[^\s,=]*|arn:aws[^\s,=]*|(?:file|env|fd):[A-Za-z0-9_./~$-]+|` +
		`/(?:run|var|etc|home|root|opt|usr|tmp|mnt|data|secrets?|vault|app|srv|dev|proc|certs?|tls|ssl|keys?|config|pki|etcd-certs|workspace|src|certificates|ssh|conf)(?:/[^\s;,=]*)?|` +
		`(?:~|\.{1,2})/[^\s;,=]*|` +
		`[A-Za-z0-9_./\\:~$-]+\.(?:pem|key|crt|cer|cert|csr|der|jks|p12|pfx|p8|pub|json|ya?ml|txt|conf|cfg|ini|env|toml|keystore|asc|gpg|age|properties|keyring|jwk|jwks|pass|pw|tfvars|sh|py))$`)
)

func isFile(s string) bool { return file.MatchString(s) }

// plainFor reports whether the value of a flag with a secret name is not a secret. Names of one weak word, such as auth and key, also have
// values that select something.
func plainFor(name, value string) bool {
	if plainValue(value) {
		return true
	}
	words := split(name)
	if len(words) == 0 {
		return false
	}
	switch last := words[len(words)-1]; last {
	case "auth", "oauth", "authentication":
		return plainAuth[strings.ToLower(value)]
	case "key", "session", "salt", "nonce", "signature", "sid", "pass":
		return len(value) < 6 && strings.Trim(value, "0123456789,.nr") == ""
	case "tokens", "secrets", "passwords", "cookies", "credentials":
		return strings.Trim(value, "0123456789") == ""
	case "cookie":
		return last == "cookie" && isFile(value)
	case "pwd":
		return (name == "PWD" || name == "OLDPWD") && value[0] == '/'
	case "oldpwd":
		return value[0] == '/'
	case "webhook":
		return !strings.Contains(value, "/")
	}
	return false
}
