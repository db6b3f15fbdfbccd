// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import "maps"

// oraclePrograms have an argument user/password@database.
var oraclePrograms = map[string]bool{"sqlplus": true, "sqlldr": true, "rman": true, "expdp": true, "impdp": true}

// lastSecrets are commands whose last arguments are secrets without a flag.
var lastSecrets = []struct {
	program, command string
	last             int
}{
	{"rabbitmqctl", "add_user", 1},
	{"rabbitmqctl", "change_password", 1},
	{"rabbitmqctl", "authenticate_user", 1},
	{"vault", "login", 1},
	{"mc", "alias", 2},
	{"htpasswd", "-b", 1},
	{"htpasswd", "-nb", 1},
	{"htpasswd", "-cb", 1},
	{"htpasswd", "-bc", 1},
}

// secretAfter are short flags that have a secret after them, or attached, in some programs only.
var secretAfter = map[string][]string{
	"sshpass":    {"-p"},
	"redis-cli":  {"-a"},
	"ldapsearch": {"-w"},
	"cqlsh":      {"-p"},
	"mongo":      {"-p"},
	"mongosh":    {"-p"},
	"mongodump":  {"-p"},
	"sqlcmd":     {"-P"},
	"bcp":        {"-P"},
	"ipmitool":   {"-P"},
	"zip":        {"-P"},
	"unzip":      {"-P"},
	"snmpwalk":   {"-A", "-X", "-c"},
	"snmpget":    {"-A", "-X", "-c"},
	"openssl":    {"-k", "-K", "-passin", "-passout"},
	"xfreerdp":   {"/p:"},
	"etcdctl":    {"--user"},
}

// attachedP are programs whose -p always has an attached password.
var attachedP = map[string]bool{"mysql": true, "sshpass": true, "7z": true, "7za": true, "7zr": true}

// plainPrograms are programs whose -p is not a secret. They are compared with the first word only, because other programs have subcommands of
// the same names.
var plainPrograms = map[string]bool{
	"mkdir": true, "cp": true, "scp": true, "tar": true, "rsync": true, "install": true, "touch": true, "ps": true, "perl": true, "bash": true,
	"sh": true, "make": true, "gcc": true, "g++": true, "cc": true, "c++": true, "clang": true, "systemctl": true, "tini": true, "ffmpeg": true,
	"gunicorn": true, "nginx": true, "pytest": true, "find": true,
}

// isProgram are the programs with flags that are secret in them only.
var isProgram = func() map[string]bool {
	all := maps.Clone(attachedP)
	for program := range secretAfter {
		all[program] = true
	}
	return all
}()

// plainP are long options with one dash, of find, java, terraform, haproxy and others, that are not -p with a password.
var plainP = map[string]bool{
	"path": true, "port": true, "ports": true, "print": true, "print0": true, "printf": true, "proxy": true, "profile": true,
	"plugin": true, "plugins": true, "pid": true, "pidfile": true, "prune": true, "parallel": true, "parallelism": true,
	"perm": true, "package": true, "prefix": true, "protocol": true, "pprof": true, "profiler": true, "policy": true,
	"partition": true, "pool": true, "peer": true, "peers": true, "ping": true, "platform": true, "project": true, "public": true,
	"pod": true, "pods": true, "preset": true, "pix": true, "pipe": true, "pthread": true, "pedantic": true, "poll": true, "pull": true, "push": true,
	"passin": true, "passout": true,
}

// userFlags have a value user:password.
var userFlags = map[string]bool{"-u": true, "--user": true, "-U": true, "--proxy-user": true, "--login": true}
