// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"strings"

	"github.com/package-url/packageurl-go"
)

// PURL returns the package URL of the module: pkg:golang/<path>@<version>, in lower case as the purl type golang requires, and
// without a version if the version is unknown. The standard library is the module "stdlib" with Go's version, as scanners spell it.
func (m GoModule) PURL() string {
	if m.Path == "" {
		return ""
	}
	path := strings.ToLower(m.Path)
	slash := strings.LastIndexByte(path, '/')
	return packageurl.NewPackageURL(packageurl.TypeGolang, path[:max(slash, 0)], path[slash+1:], m.Version, nil, "").ToString()
}
