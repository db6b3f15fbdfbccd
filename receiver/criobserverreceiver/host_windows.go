// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"golang.org/x/sys/windows/registry"

	"github.com/zastava-otel/zastava/internal/observer"
)

// hostFacts knows of no name for a boot of Windows, so no reboot is ever concluded. The files of Linux are not looked for: what
// is at \\proc of a drive is whatever a user put there.
func hostFacts() observer.Host { return observer.Host{} }

// machineID is what Windows calls the machine since it was installed; empty when it cannot be read. It is this machine's,
// whatever root says.
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
