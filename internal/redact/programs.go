// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

import "strings"

// shells are programs whose argument after -c is a script.
var shells = words("sh bash dash ash zsh ksh mksh busybox su runuser")

// wrappers are programs that start another one, whose name is one of their arguments.
const wrappers = `sudo doas env timeout nice ionice nohup exec time xargs watch strace ltrace docker podman nerdctl crictl ctr kubectl oc ssh
	tini dumb-init catatonit gosu su-exec su runuser setpriv chroot nsenter unshare flock stdbuf taskset chrt setsid find parallel proxychains
	proxychains4 sshpass script systemd-run lxc lxc-attach machinectl vagrant heroku fly flyctl dbus-run-session busybox sh bash dash ash zsh
	ksh eval command start cmd powershell pwsh autossh mosh torsocks s6-setuidgid chpst unbuffer supervisord entrypoint.sh
	docker-entrypoint.sh docker-compose op infisical doppler chamber aws-vault envconsul echo printf`

var exactPrograms, familyPrograms = compileRules(ruleTable, wrappers)

// lookup returns what the table says of the program of that name or path; nil if it is not in the table.
func lookup(arg string) *program {
	if arg == "" || arg[0] == '-' || len(arg) > 256 {
		return nil
	}
	name := base(arg)
	if p := exactPrograms[name]; p != nil {
		return p
	}
	for family, p := range familyPrograms {
		if strings.HasPrefix(name, family) && strings.Trim(name[len(family):], "abcdefghijklmnopqrstuvwxyz0123456789_-.") == "" {
			return p
		}
	}
	return nil
}

// base returns the name of a program without its path and the ending that says how it is run.
func base(arg string) string {
	name := arg[strings.LastIndexAny(arg, `/\`)+1:]
	for _, ending := range []string{".exe", ".sh", ".py", ".cmd", ".bat", ".EXE"} {
		if short, ok := strings.CutSuffix(name, ending); ok && short != "" {
			return short
		}
	}
	return name
}
