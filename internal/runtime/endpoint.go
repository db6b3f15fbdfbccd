// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"errors"
	"fmt"
	"path/filepath"
	goruntime "runtime"
	"strings"
)

// PipesSupported reports whether this program can connect to Windows named pipes.
const PipesSupported = goruntime.GOOS == "windows"

// pipePrefix begins the path of every local named pipe.
const pipePrefix = `\\.\pipe\`

// Endpoint is the local socket or pipe of a runtime.
type Endpoint struct {
	Scheme  string // unix or npipe
	Address string // a file path, or \\.\pipe\name
}

// String returns the endpoint as a URL.
func (e Endpoint) String() string {
	if e.Scheme == "npipe" {
		return "npipe://" + strings.ReplaceAll(e.Address, `\`, "/")
	}
	return e.Scheme + "://" + e.Address
}

// ParseEndpoint parses unix:///path, an absolute path, npipe:////./pipe/name, npipe://\\.\pipe\name or \\.\pipe\name. An
// error names api, the API that the endpoint is for, and ends with usage, which shows valid forms. It never contains a
// password.
func ParseEndpoint(s, api, usage string) (Endpoint, error) {
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		scheme, rest = "unix", s
		if strings.HasPrefix(s, pipePrefix) {
			scheme = "npipe"
		}
	}
	switch {
	case s == "":
		return Endpoint{}, errors.New("endpoint: is empty; " + usage)
	case scheme == "npipe":
		return parsePipe(s, rest, usage)
	case scheme != "unix":
		return Endpoint{}, fmt.Errorf("endpoint: the scheme %.32q is not known to %s; %s", scheme, api, usage)
	case filepath.IsAbs(rest), strings.HasPrefix(rest, "/"):
		return Endpoint{Scheme: "unix", Address: rest}, nil
	case strings.Contains(rest, "@"): // perhaps with a password, so the error does not repeat the endpoint
		return Endpoint{}, errors.New("endpoint: is not an absolute path, and contains a user name; " + usage)
	default:
		return Endpoint{}, fmt.Errorf("endpoint: %q is not an absolute path; %s", s, usage)
	}
}

// parsePipe parses the part of endpoint s that follows its scheme.
func parsePipe(s, rest, usage string) (Endpoint, error) {
	address := strings.ReplaceAll(rest, "/", `\`)
	if name, ok := strings.CutPrefix(address, pipePrefix); !ok || name == "" {
		return Endpoint{}, fmt.Errorf("endpoint: %q names no pipe; %s", s, usage)
	}
	if !PipesSupported {
		return Endpoint{}, fmt.Errorf("endpoint: %q is a Windows named pipe and this is not Windows; %s", s, usage)
	}
	return Endpoint{Scheme: "npipe", Address: address}, nil
}
