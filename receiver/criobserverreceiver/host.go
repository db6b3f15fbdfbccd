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

// hostFacts tells which boot of the host this is, where the host is a Linux. Elsewhere it is not known, and no reboot is
// ever concluded. These two files of /proc are the host's own in any namespace.
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

// machineID is the host's machine id (machine-id(5)); empty where there is none.
func machineID(root string) string {
	for _, name := range []string{"etc/machine-id", "var/lib/dbus/machine-id"} {
		if id, err := os.ReadFile(filepath.Join("/", root, name)); err == nil && len(strings.TrimSpace(string(id))) > 0 {
			return strings.TrimSpace(string(id))
		}
	}
	return ""
}
