// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/zastava-otel/zastava/internal/runtime"
)

// usage ends the error for an invalid endpoint.
const usage = "write unix:///var/run/docker.sock, tcp://host:2376 with tls, or npipe:////./pipe/docker_engine on Windows"

// CheckEndpoint returns an error if s is not a valid endpoint in a configuration.
func CheckEndpoint(s string) error {
	_, err := parseEndpoint(s)
	return err
}

// parseEndpoint returns an endpoint in the form that the client requires.
func parseEndpoint(s string) (string, error) {
	switch scheme, rest, found := strings.Cut(s, "://"); {
	case found && scheme == "tcp":
		return s, checkAddress(s, rest)
	case found && scheme == "ssh":
		return "", errors.New("endpoint: ssh:// is not supported, because an observer should not hold a login; run the collector " +
			"on that host, or use tcp:// with tls")
	}
	e, err := runtime.ParseEndpoint(s, "Docker", usage)
	if err != nil {
		return "", err
	}
	return e.String(), nil
}

// checkAddress checks the host and port of a TCP endpoint. The error never contains a password.
func checkAddress(endpoint, address string) error {
	if strings.Contains(address, "@") {
		return errors.New("endpoint: contains a user name, which Docker does not support: remove it, and use tls for access; " + usage)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return fmt.Errorf("endpoint: %q is not tcp://host:port; %s", endpoint, usage)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("endpoint: %q has no port number; %s", endpoint, usage)
	}
	return nil
}
