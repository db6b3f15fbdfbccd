// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package criobserverreceiver

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/observer"
)

// hostFacts returns the boot id and the boot time of a Linux host. On other systems it returns an empty Host, so no reboot is
// detected. Both files of /proc describe the host in every namespace.
func hostFacts() observer.Host {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return observer.Host{}
	}
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return observer.Host{}
	}
	_, rest, _ := strings.Cut(string(stat), "\nbtime ")
	line, _, _ := strings.Cut(rest, "\n")
	seconds, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	if err != nil {
		return observer.Host{}
	}
	return observer.Host{BootID: strings.TrimSpace(string(id)), BootTime: time.Unix(seconds, 0).UTC()}
}

// machineID returns the host's machine id (machine-id(5)), or an empty string if there is none.
func machineID(root string) string {
	for _, name := range []string{"etc/machine-id", "var/lib/dbus/machine-id"} {
		if id, err := os.ReadFile(filepath.Join("/", root, name)); err == nil && len(strings.TrimSpace(string(id))) > 0 {
			return strings.TrimSpace(string(id))
		}
	}
	return ""
}
