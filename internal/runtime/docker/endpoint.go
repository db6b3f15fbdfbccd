// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
)

const want = "write unix:///var/run/docker.sock, tcp://host:2376 with tls, or npipe:////./pipe/docker_engine on Windows"

// CheckEndpoint tells what is wrong with an endpoint of a configuration, if anything.
func CheckEndpoint(s string) error {
	_, err := parseEndpoint(s)
	return err
}

// parseEndpoint gives an endpoint in the form that the client takes.
func parseEndpoint(s string) (string, error) {
	scheme, rest, found := strings.Cut(s, "://")
	switch {
	case s == "":
		return "", errors.New("endpoint: is empty; " + want)
	case found && scheme == "npipe", !found && strings.HasPrefix(s, `\\.\pipe\`):
		if !found {
			rest = s
		}
		rest = strings.ReplaceAll(rest, `\`, "/")
		if name, ok := strings.CutPrefix(rest, "//./pipe/"); !ok || name == "" {
			return "", fmt.Errorf("endpoint: %q names no pipe; %s", s, want)
		}
		if goruntime.GOOS != "windows" {
			return "", fmt.Errorf("endpoint: %q is a Windows named pipe and this is not Windows; %s", s, want)
		}
		return "npipe://" + rest, nil
	case found && scheme == "tcp" && strings.Contains(rest, "@"):
		return "", errors.New("endpoint: holds a user name; Docker knows none: remove it, and use tls for access; " + want)
	case found && scheme == "tcp":
		host, port, err := net.SplitHostPort(rest)
		if err != nil || host == "" {
			return "", fmt.Errorf("endpoint: %q is not tcp://host:port; %s", s, want)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", fmt.Errorf("endpoint: %q has no port number; %s", s, want)
		}
		return s, nil
	case found && scheme == "ssh":
		return "", errors.New("endpoint: ssh:// is not supported: an observer should not hold a login; run the collector on that host, or use tcp:// with tls")
	case found && scheme != "unix":
		return "", fmt.Errorf("endpoint: the scheme %q is not known to Docker; %s", clip(scheme, 32), want)
	case !found:
		rest = s
	}
	if !filepath.IsAbs(rest) && !strings.HasPrefix(rest, "/") {
		if strings.Contains(rest, "@") { // and a password, perhaps: it is not repeated
			return "", errors.New("endpoint: is not an absolute path, and holds a user name; " + want)
		}
		return "", fmt.Errorf("endpoint: %q is not an absolute path; %s", s, want)
	}
	return "unix://" + rest, nil
}
