// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package packagedb

import (
	"strings"

	"github.com/package-url/packageurl-go"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// distro is the distribution by os-release(5), which determines the namespace of its packages' purls.
type distro struct{ id, version string }

// distro reads os-release. What cannot be read is empty.
func (s *search) distro() (d distro) {
	for _, name := range []string{"/usr/lib/os-release", "/etc/os-release"} {
		if s.eachLineOf(name, 64<<10, d.line) == nil {
			break
		}
	}
	return d
}

// line takes ID and VERSION_ID of a line of os-release.
func (d *distro) line(line []byte) (more bool) {
	key, value, ok := strings.Cut(strings.TrimSpace(string(line)), "=")
	if !ok {
		return true
	}
	value = evidence.ShortText(strings.Trim(value, `"'`))
	switch key {
	case "ID":
		d.id = value
	case "VERSION_ID":
		d.version = value
	}
	return true
}

// purl returns the package URL of a package of the distribution, "" if its name or version is unknown. kind is deb, apk or rpm. Only
// the names of rpm packages are case-sensitive.
func (d distro) purl(kind string, p installed) string {
	if p.name == "" || p.version == "" {
		return ""
	}
	name := p.name
	if kind != packageurl.TypeRPM {
		name = strings.ToLower(name)
	}
	var qualifiers packageurl.Qualifiers // in the order of their keys, as a canonical purl has them
	add := func(key, value string) {
		if value != "" {
			qualifiers = append(qualifiers, packageurl.Qualifier{Key: key, Value: value})
		}
	}
	add("arch", p.arch)
	if d.id != "" && d.version != "" {
		add("distro", d.id+"-"+d.version)
	}
	add("epoch", p.epoch)
	return packageurl.NewPackageURL(kind, d.namespace(kind), name, p.version, qualifiers, "").ToString()
}

// namespace returns the distribution as purls spell it. For two distributions with rpm this differs from os-release.
func (d distro) namespace(kind string) string {
	id := strings.ToLower(d.id)
	switch {
	case id == "":
		return map[string]string{"deb": "debian", "apk": "alpine"}[kind]
	case kind == "rpm" && id == "rhel":
		return "redhat"
	case kind == "rpm" && strings.HasPrefix(id, "opensuse-"):
		return "opensuse"
	}
	return id
}
