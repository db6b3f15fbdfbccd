// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"golang.org/x/sys/windows/registry"

	"github.com/zastava-otel/zastava/internal/observer"
)

// hostFacts returns an empty Host because Windows has no boot id, so no reboot is detected. It must not read the Linux files:
// a directory \\proc on a drive may contain anything.
func hostFacts() observer.Host { return observer.Host{} }

// machineID returns the MachineGuid that Windows creates when it is installed, or an empty string if it cannot be read. It
// ignores root: the registry describes this machine only.
func machineID(string) string {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, `SOFTWARE\Microsoft\Cryptography`, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if err != nil {
		return ""
	}
	defer func() { _ = key.Close() }()
	id, _, err := key.GetStringValue("MachineGuid")
	if err != nil {
		return ""
	}
	return id
}
