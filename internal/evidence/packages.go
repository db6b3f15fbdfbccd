// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"errors"
	"strings"

	"github.com/package-url/packageurl-go"
)

// errDatabaseTooLarge: more than any distribution's.
var errDatabaseTooLarge = errors.New("the package database is too large")

// distro is what os-release(5) calls the distribution: the namespace of its packages' purls.
type distro struct{ id, version string }

// parseOSRelease reads ID and VERSION_ID.
func parseOSRelease(text []byte) (d distro) {
	for line := range bytes.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(string(line)), "=")
		if !ok {
			continue
		}
		value = short(strings.Trim(value, `"'`))
		switch key {
		case "ID":
			d.id = value
		case "VERSION_ID":
			d.version = value
		}
	}
	return d
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

// namespace is the distribution as purls have it, which for two of rpm's is not as os-release has it.
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

// installed is one package of a database.
type installed struct{ name, version, arch, epoch string }

// parseDpkgStatus gives the installed packages of a dpkg status file, each by its name and by name:arch, as the names of the lists
// of files have it.
func parseDpkgStatus(text []byte) map[string]installed {
	packages := map[string]installed{}
	var p installed
	status := ""
	end := func() {
		// The status.d of images without dpkg has no Status field.
		if p.name != "" && (status == "" || strings.HasSuffix(status, " installed")) {
			packages[p.name], packages[p.name+":"+p.arch] = p, p
		}
		p, status = installed{}, ""
	}
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			end()
			continue
		}
		key, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || line[0] == ' ' {
			continue
		}
		switch string(key) {
		case "Package":
			p.name = short(string(bytes.TrimSpace(value)))
		case "Version":
			p.version = short(string(bytes.TrimSpace(value)))
		case "Architecture":
			p.arch = short(string(bytes.TrimSpace(value)))
		case "Status":
			status = short(string(bytes.TrimSpace(value)))
		}
	}
	end()
	return packages
}

// wanted are the paths whose owners are looked for, in each spelling a database may have, by the path as the kernel has it.
type wanted map[string]string

// add adds a path. Where /lib is a link to /usr/lib, the kernel says the one and many packages still say the other.
func (w wanted) add(path string) {
	w[path] = path
	if rest, ok := strings.CutPrefix(path, "/usr/"); ok {
		w["/"+rest] = path
	} else {
		w["/usr"+path] = path
	}
}

// parseDpkgList finds wanted paths in a list of files: one a line.
func (w wanted) parseDpkgList(text []byte, found func(path string)) {
	for line := range bytes.Lines(text) {
		if path, ok := w[string(bytes.TrimRight(line, "\r\n"))]; ok {
			found(path)
		}
	}
}

// parseMD5Sums finds wanted paths in a list of sums: sum, two blanks, path without the slash before it.
func (w wanted) parseMD5Sums(text []byte, found func(path string)) {
	for line := range bytes.Lines(text) {
		_, name, ok := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte("  "))
		if !ok {
			continue
		}
		if path, ok := w["/"+strings.TrimPrefix(string(name), "./")]; ok {
			found(path)
		}
	}
}

// parseAPK finds wanted paths in apk's database: P name, V version, A architecture, F directory, R file in it.
func (w wanted) parseAPK(text []byte, found func(path string, p installed)) {
	var p installed
	dir := ""
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			p, dir = installed{}, ""
			continue
		}
		if len(line) < 2 || line[1] != ':' {
			continue
		}
		value := string(line[2:])
		switch line[0] {
		case 'P':
			p.name = short(value)
		case 'V':
			p.version = short(value)
		case 'A':
			p.arch = short(value)
		case 'F':
			dir = value
		case 'R':
			name := "/" + dir + "/" + value
			if dir == "" {
				name = "/" + value
			}
			if path, ok := w[name]; ok {
				found(path, p)
			}
		}
	}
}
