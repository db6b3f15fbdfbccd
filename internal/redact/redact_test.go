// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/test/oracle"
)

// made joins the parts of a secret that scanners of secrets must not find in this file.
func made(parts ...string) string { return strings.Join(parts, "") }

func TestArgumentsMasksSecretsOnly(t *testing.T) {
	for name, test := range map[string]struct{ args, want []string }{
		"nothing secret":             {[]string{"/bin/api", "--listen", ":8080", "-v", "--retries=3"}, []string{"/bin/api", "--listen", ":8080", "-v", "--retries=3"}},
		"flag with its value":        {[]string{"app", "--password=hunter2"}, []string{"app", "--password=***"}},
		"flag, then value":           {[]string{"app", "--db-password", "hunter2", "--x"}, []string{"app", "--db-password", "***", "--x"}},
		"one dash":                   {[]string{"app", "-token", "abcdef"}, []string{"app", "-token", "***"}},
		"value with spaces":          {[]string{"app", "--secret=two words"}, []string{"app", "--secret=***"}},
		"shorter than the mask":      {[]string{"app", "--password=x"}, []string{"app", "--password=*"}},
		"empty value":                {[]string{"app", "--password="}, []string{"app", "--password="}},
		"camel case":                 {[]string{"java", "-DdbPassword=hunter2"}, []string{"java", "-DdbPassword=***"}},
		"environment of env":         {[]string{"env", "DB_PASS=hunter2", "app"}, []string{"env", "DB_PASS=***", "app"}},
		"file of a password":         {[]string{"app", "--password-file=/run/secrets/db"}, []string{"app", "--password-file=/run/secrets/db"}},
		"file of a token, separate":  {[]string{"app", "--token-path", "/run/token"}, []string{"app", "--token-path", "/run/token"}},
		"a flag that refuses":        {[]string{"psql", "--no-password", "db"}, []string{"psql", "--no-password", "db"}},
		"a flag after the flag":      {[]string{"mysql", "--password", "--host=db"}, []string{"mysql", "--password", "--host=db"}},
		"names that only look like":  {[]string{"app", "--passive", "on", "--author=me", "--bypass", "x"}, []string{"app", "--passive", "on", "--author=me", "--bypass", "x"}},
		"mysql":                      {[]string{"mysql", "-uroot", "-phunter2", "shop"}, []string{"mysql", "-uroot", "-p***", "shop"}},
		"-p and a password":          {[]string{"mongosh", "-p", "hunter2"}, []string{"mongosh", "-p", "***"}},
		"-p and a port":              {[]string{"ssh", "-p", "2222", "-p2222", "-p8080:80"}, []string{"ssh", "-p", "2222", "-p2222", "-p8080:80"}},
		"long options of one dash":   {[]string{"find", "/", "-path", "x", "-print0", "-port=1"}, []string{"find", "/", "-path", "x", "-print0", "-port=1"}},
		"curl -u":                    {[]string{"curl", "-u", "me:hunter2", "--user=me:hunter2"}, []string{"curl", "-u", "me:***", "--user=me:***"}},
		"uid and gid":                {[]string{"setpriv", "-u", "1000:1000"}, []string{"setpriv", "-u", "1000:1000"}},
		"redis-cli -a":               {[]string{"/usr/bin/redis-cli", "-a", "hunter2"}, []string{"/usr/bin/redis-cli", "-a", "***"}},
		"header":                     {[]string{"curl", "-H", "Authorization: Bearer abc.def"}, []string{"curl", "-H", "Authorization: ***"}},
		"bearer elsewhere":           {[]string{"curl", "-H", "X-Up: bearer abcdef"}, []string{"curl", "-H", "X-Up: bearer ***"}},
		"url with credentials":       {[]string{"app", "postgres://me:hunter2@db:5432/shop"}, []string{"app", "postgres://***@db:5432/shop"}},
		"url with a token as user":   {[]string{"git", "clone", "https://abcdef@host/x.git"}, []string{"git", "clone", "https://***@host/x.git"}},
		"url with odd password":      {[]string{"app", "amqp://me:p/a@ss@mq/"}, []string{"app", "amqp://***@mq/"}},
		"url with a port and an at":  {[]string{"app", "http://host:8080/p@th"}, []string{"app", "http://host:8080/p@th"}},
		"url with a token in query":  {[]string{"app", "https://h/p?a=1&access_token=abc&b=2"}, []string{"app", "https://h/p?a=1&access_token=***&b=2"}},
		"data source name":           {[]string{"app", "me:hunter2@tcp(db:3306)/shop"}, []string{"app", "me:***@tcp(db:3306)/shop"}},
		"image reference":            {[]string{"run", "nginx:1.27@sha256:0123"}, []string{"run", "nginx:1.27@sha256:0123"}},
		"json":                       {[]string{"app", `{"user":"me","password":"hunter2","n":1}`}, []string{"app", `{"user":"me","password":"***","n":1}`}},
		"libpq":                      {[]string{"app", "host=db password=hunter2 dbname=x"}, []string{"app", "host=db password=*** dbname=x"}},
		"a shell's line":             {[]string{"sh", "-c", "mysql --password hunter2 -h db; mysql -phunter2"}, []string{"sh", "-c", "mysql --password *** -h db; mysql -p***"}},
		"a shell's line with quotes": {[]string{"sh", "-c", `app --token "a b" --x`}, []string{"sh", "-c", `app --token "***" --x`}},
		"pem":                        {[]string{"app", "--key-data", made("-----BEGIN RSA PRIV", "ATE KEY-----\nMIIE\n-----END RSA PRIV", "ATE KEY-----")}, []string{"app", "--key-data", "***"}},
		"half a pem":                 {[]string{"app", made("x-----BEGIN PRIV", "ATE KEY-----\nMIIE")}, []string{"app", "x***"}},
		"aws":                        {[]string{"app", made("AKIA", "IOSFODNN7EXAMPLE")}, []string{"app", "***"}},
		"github":                     {[]string{"app", made("ghp_", "0123456789abcdefghijABCDEFGHIJ012345")}, []string{"app", "***"}},
		"slack":                      {[]string{"app", made("xoxb-", "1234567890-abcdefghij")}, []string{"app", "***"}},
		"jwt":                        {[]string{"app", "at=" + made("eyJhbGciOiJIUzI1NiJ9", ".eyJzdWIiOiIxIn0", ".c2lnbmF0dXJl")}, []string{"app", "at=***"}},
		"stripe":                     {[]string{"app", made("sk_", "live_0123456789abcdefghij")}, []string{"app", "***"}},
		"one dash, a long name":      {[]string{"influx", "-password", "hunter2"}, []string{"influx", "-password", "***"}},
		"plink":                      {[]string{"plink", "-pw", "hunter2"}, []string{"plink", "-pw", "***"}},
		"a word that ends so":        {[]string{"app", "--dbpass", "hunter2", "--bindpw=hunter2"}, []string{"app", "--dbpass", "***", "--bindpw=***"}},
		"words that only end so":     {[]string{"app", "--bypass=x", "--compass", "north"}, []string{"app", "--bypass=x", "--compass", "north"}},
		"redis-server":               {[]string{"redis-server", "--requirepass", "hunter2", "--masterauth", "hunter2"}, []string{"redis-server", "--requirepass", "***", "--masterauth", "***"}},
		"keytool":                    {[]string{"keytool", "-storepass", "hunter2"}, []string{"keytool", "-storepass", "***"}},
		"a switch":                   {[]string{"app", "--auth=true", "--token-webhook", "false"}, []string{"app", "--auth=true", "--token-webhook", "false"}},
		"tokens of a language model": {[]string{"vllm", "--max-tokens=128", "--tokenizer", "bert"}, []string{"vllm", "--max-tokens=128", "--tokenizer", "bert"}},
		"keys of another kind":       {[]string{"app", "--sort-key=name", "--public-key", "abc"}, []string{"app", "--sort-key=name", "--public-key", "abc"}},
		"several lines":              {[]string{"app", "--password=one\ntwo"}, []string{"app", "--password=***"}},
		"a value like a comment":     {[]string{"app", "--password=//x"}, []string{"app", "--password=***"}},
		"curl -u, joined":            {[]string{"curl", "-ume:hunter2", "-U", "me:hunter2"}, []string{"curl", "-ume:***", "-U", "me:***"}},
		"redis-cli -a, joined":       {[]string{"redis-cli", "-ahunter2"}, []string{"redis-cli", "-a***"}},
		"sqlcmd -P, joined":          {[]string{"sqlcmd", "-Phunter2"}, []string{"sqlcmd", "-P***"}},
		"behind another program":     {[]string{"timeout", "5", "redis-cli", "-a", "hunter2"}, []string{"timeout", "5", "redis-cli", "-a", "***"}},
		"mysql -p and digits":        {[]string{"/usr/bin/mysqldump", "-p123456"}, []string{"/usr/bin/mysqldump", "-p***"}},
		"mysql -p and a path":        {[]string{"mysql", "-p/hunter2"}, []string{"mysql", "-p***"}},
		"mkdir -p":                   {[]string{"mkdir", "-p", "a/b"}, []string{"mkdir", "-p", "a/b"}},
		"gcc":                        {[]string{"gcc", "-pipe", "-pthread"}, []string{"gcc", "-pipe", "-pthread"}},
		"a subcommand is no program": {[]string{"app", "install", "-p", "hunter2"}, []string{"app", "install", "-p", "***"}},
		"openssl":                    {[]string{"openssl", "enc", "-k", "hunter2", "-passin", "pass:hunter2"}, []string{"openssl", "enc", "-k", "***", "-passin", "***"}},
		"zip":                        {[]string{"unzip", "-P", "hunter2", "x.zip"}, []string{"unzip", "-P", "***", "x.zip"}},
		"smbclient":                  {[]string{"smbclient", "-U", "me%hunter2"}, []string{"smbclient", "-U", "me%***"}},
		"lftp":                       {[]string{"lftp", "-u", "me,hunter2"}, []string{"lftp", "-u", "me,***"}},
		"xfreerdp":                   {[]string{"xfreerdp", "/u:me", "/p:hunter2"}, []string{"xfreerdp", "/u:me", "/p:***"}},
		"sqlplus":                    {[]string{"sqlplus", "scott/hunter2@db"}, []string{"sqlplus", "scott/***@db"}},
		"oracle":                     {[]string{"app", "jdbc:oracle:thin:scott/hunter2@//db:1521/x"}, []string{"app", "jdbc:oracle:thin:scott/***@//db:1521/x"}},
		"a name without dashes":      {[]string{"aws", "configure", "set", "aws_secret_access_key", "hunter2"}, []string{"aws", "configure", "set", "aws_secret_access_key", "***"}},
		"nmcli":                      {[]string{"nmcli", "wifi", "connect", "x", "password", "hunter2"}, []string{"nmcli", "wifi", "connect", "x", "password", "***"}},
		"kubectl get secret":         {[]string{"kubectl", "get", "secret", "db"}, []string{"kubectl", "get", "secret", "db"}},
		"kubectl --from-literal":     {[]string{"kubectl", "--from-literal=a=hunter2", "--from-literal", "b=hunter2"}, []string{"kubectl", "--from-literal=a=***", "--from-literal", "b=***"}},
		"rabbitmqctl":                {[]string{"rabbitmqctl", "add_user", "me", "hunter2"}, []string{"rabbitmqctl", "add_user", "me", "***"}},
		"vault login":                {[]string{"vault", "login", "hunter2"}, []string{"vault", "login", "***"}},
		"json in json":               {[]string{"app", `{\"password\":\"hunter2\",\"n\":1}`}, []string{"app", `{\"password\":\"***\",\"n\":1}`}},
		"json with a quote in it":    {[]string{"app", `{"password":"a\"hunter2","n":1}`}, []string{"app", `{"password":"***","n":1}`}},
		"json, an object":            {[]string{"app", `{"auth":{"a":{"b":"hunter2"},"c":1},"n":1}`}, []string{"app", `{"auth":***,"n":1}`}},
		"ruby":                       {[]string{"ruby", "-e", `x(:password => 'hunter2', "token"=>"hunter2")`}, []string{"ruby", "-e", `x(:password => '***', "token"=>"***")`}},
		"php":                        {[]string{"php", "-r", `define('DB_PASSWORD', 'hunter2');`}, []string{"php", "-r", `define('DB_PASSWORD', '***');`}},
		"an index":                   {[]string{"python", "-c", `os.environ['TOKEN'] = 'hunter2'`}, []string{"python", "-c", `os.environ['TOKEN'] = '***'`}},
		"data source, odd password":  {[]string{"app", "me:p/a@ss@tcp(db:3306)/shop"}, []string{"app", "me:***@tcp(db:3306)/shop"}},
		"a shell's curl":             {[]string{"sh", "-c", `curl --user 'me:hunter2' x && curl -u me:hunter2 y`}, []string{"sh", "-c", `curl --user 'me:***' x && curl -u me:*** y`}},
		"a shell's header":           {[]string{"sh", "-c", `curl -H "Authorization: token hunter2" x`}, []string{"sh", "-c", `curl -H "Authorization: ***" x`}},
		"a shell's cookie":           {[]string{"sh", "-c", `curl -H 'Cookie: a=hunter2; b=hunter2' x`}, []string{"sh", "-c", `curl -H 'Cookie: ***' x`}},
		"a shell's docker login":     {[]string{"sh", "-c", `docker login -u me -p hunter2 reg; mkdir -p a`}, []string{"sh", "-c", `docker login -u me -p *** reg; mkdir -p a`}},
		"a shell's sshpass":          {[]string{"sh", "-c", `sshpass -p 'hunter2' ssh me@h`}, []string{"sh", "-c", `sshpass -p '***' ssh me@h`}},
		"a shell's redis-cli":        {[]string{"sh", "-c", `exec redis-cli -a hunter2 ping`}, []string{"sh", "-c", `exec redis-cli -a *** ping`}},
		"a shell's -p with quotes":   {[]string{"sh", "-c", `mysql -p'hunter2 x' db`}, []string{"sh", "-c", `mysql -p*** db`}},
		"a shell's next line":        {[]string{"sh", "-c", "app --password \\\n hunter2"}, []string{"sh", "-c", "app --password \\\n ***"}},
		"a title":                    {[]string{"worker: curl -u me:hunter2 db"}, []string{"worker: curl -u me:*** db"}},
		"an open quote":              {[]string{"sh", "-c", `echo it's; curl -u me:hunter2 db`}, []string{"sh", "-c", `echo it's; curl -u me:*** db`}},
		"digests and ids": {
			[]string{"x", "sha256:0123456789abcdef", "7a4f3c2e9d1b8a6f5e4d3c2b1a09876543210fed", "550e8400-e29b-41d4-a716-446655440000", "git@github.com:a/b.git"},
			[]string{"x", "sha256:0123456789abcdef", "7a4f3c2e9d1b8a6f5e4d3c2b1a09876543210fed", "550e8400-e29b-41d4-a716-446655440000", "git@github.com:a/b.git"},
		},
		"grafana": {[]string{"app", made("glsa_", "0123456789abcdefghij_01234567")}, []string{"app", "***"}},
		"shopify": {[]string{"app", made("shpat_", "0123456789abcdef0123456789abcdef")}, []string{"app", "***"}},
		"doppler": {[]string{"app", made("dp.pt.", "0123456789abcdefghij0123456789")}, []string{"app", "***"}},
		"discord": {[]string{"app", made("https://discord.com/api/webhooks/", "123/abc-DEF")}, []string{"app", "https://***"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := New(nil)
			require.NoError(t, err)
			given := append([]string(nil), test.args...)
			assert.Equal(t, test.want, r.Arguments(test.args))
			assert.Equal(t, given, test.args, "the input is not changed")
		})
	}
}

func TestAdditionMasksItsFirstGroupOrItsMatch(t *testing.T) {
	r, err := New([]string{`ACME-[0-9]+`, `--tenant (\w+)`})
	require.NoError(t, err)
	assert.Equal(t, "x *** y", r.String("x ACME-12345 y"))
	assert.Equal(t, "--tenant *** --other me", r.String("--tenant acme --other me"), "only the group is masked")
}

func TestNewFailsWhenAnAdditionIsInvalid(t *testing.T) {
	for name, test := range map[string]struct {
		additions []string
		want      string
	}{
		"does not compile":   {[]string{"fine", "("}, "expression 1"},
		"matches everything": {[]string{"a*"}, "matches the empty text"},
		"takes too long":     {[]string{"[a-f0-9]{64}", ".{999}x"}, "expression 1"},
		"too many":           {make([]string, maxAdditions+1), "are more than 64"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(test.additions)
			assert.ErrorContains(t, err, test.want)
		})
	}
}

func TestModeIsValidated(t *testing.T) {
	for _, mode := range []Mode{"", ModeFull, ModeNone, ModeRedacted} {
		require.NoError(t, mode.Validate())
	}
	assert.ErrorContains(t, Mode("some").Validate(), `"some"`)
}

// FuzzArguments checks the promises of the package for lists and for single texts.
func FuzzArguments(f *testing.F) {
	for _, seed := range []string{
		"app\x00--password=x", "mysql\x00-pfoo", "app\x00--token\x00abc", "curl\x00-u\x00a:b", "a://b:c@d", "x: y@z:1@h",
		"Authorization: Basic abc", "-----BEGIN A-----", `{"password":"x\"y"}`, "password='", "a:b@c:d@e", "\xff=\xfetoken=\x80",
		"sh\x00-c\x00 x -pa'b --key \"", "***", "--password \"**\"", "token=token=token", "İ-TOKEN=ſ", "basic basic basic",
		`token=\"a\\\"b\"`, "a;b -p c|d -u e:f 'g", "auth=([{)]}", `'token',"a`, "mysql -p 'a\"b' c\"", "password = = a", "-password -password -p",
	} {
		f.Add(seed, "")
	}
	f.Add("xACME1", "ACME[0-9]")
	f.Add("******", `\*\*\*`)
	f.Add("aab", "(a)|b")
	f.Fuzz(func(t *testing.T, text, addition string) {
		oracle.Bound(t, oracle.Parsing(len(text)+len(addition)))
		var additions []string
		if len(addition) > 24 || len(text) > 1<<10 {
			t.Skip("only slower")
		}
		if addition != "" {
			additions = []string{addition}
		}
		r, err := New(additions)
		if err != nil {
			t.Skip("no expression")
		}
		once := r.String(text)
		assert.LessOrEqual(t, len(once), len(text))
		assert.Equal(t, once, r.String(once))

		args := strings.Split(text, "\x00")
		list := r.Arguments(args)
		require.Len(t, list, len(args))
		for i := range list {
			assert.LessOrEqual(t, len(list[i]), len(args[i]))
		}
		assert.Equal(t, list, r.Arguments(list))
	})
}

func BenchmarkArguments(b *testing.B) {
	r, err := New(nil)
	require.NoError(b, err)
	args := []string{"/usr/bin/java", "-Xmx512m", "-Dserver.port=8080", "-DdbPassword=hunter2", "-jar", "/app/api.jar", "--url", "postgres://u:p@db/x"}
	b.ReportAllocs()
	for b.Loop() {
		r.Arguments(args)
	}
}
