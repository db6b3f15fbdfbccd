// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	fullCollector = "./build/otelcol-zastava"
	slimCollector = "./build/otelcol-zastava-slim"
)

type options struct {
	collector, backend, config string        // paths
	endpoint                   string        // of a CRI runtime; empty means the first one found
	private                    bool          // start a private containerd even if another runtime runs
	port                       int           // of the backend and its page
	duration                   time.Duration // 0 means until Ctrl-C
}

func parseFlags(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("zastava-demo", flag.ContinueOnError)
	f.StringVar(&o.collector, "collector", "", "collector `binary` (default "+fullCollector+", else "+slimCollector+")")
	f.StringVar(&o.backend, "backend", "./build/zastava-backend", "reference backend `binary`")
	f.StringVar(&o.config, "config", "./collector-config.yaml", "collector configuration `file`")
	f.StringVar(&o.endpoint, "endpoint", "", "observe the CRI runtime at this `address`, such as unix:///run/containerd/containerd.sock")
	f.BoolVar(&o.private, "private", false, "start a private containerd even where a runtime answers")
	f.IntVar(&o.port, "port", 8686, "TCP `port` of the page on 127.0.0.1")
	f.DurationVar(&o.duration, "for", 0, "end after this `time`, such as 60s")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.port < 1 || o.port > 65535:
		return o, fmt.Errorf("--port %d: must be 1 to 65535", o.port)
	case o.duration < 0:
		return o, fmt.Errorf("--for %s: must not be negative", o.duration)
	case o.private && o.endpoint != "":
		return o, errors.New("--private and --endpoint exclude each other")
	}
	if strings.HasPrefix(o.endpoint, "/") {
		o.endpoint = "unix://" + o.endpoint
	}
	if o.collector == "" {
		o.collector = fullCollector
		if _, err := os.Stat(o.collector); err != nil {
			o.collector = slimCollector
		}
	}
	return o, nil
}

// check reports together all faults that would make a later step fail.
func (o options) check() error {
	var faults []error
	for _, file := range []struct{ what, path, remedy string }{
		{"collector", o.collector, "build it with `make slim`, or name it with --collector"},
		{"backend", o.backend, "build it with `make build`, or name it with --backend"},
		{"collector's configuration", o.config, "run from the repository, or name it with --config"},
	} {
		if _, err := os.Stat(file.path); err != nil {
			faults = append(faults, fmt.Errorf("there is no %s at %s: %s", file.what, file.path, file.remedy))
		}
	}
	return errors.Join(append(faults, checkPort(o.port))...)
}

func (o options) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(o.port)) }

func checkPort(port int) error {
	l, err := listen(port)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		other := port + 1
		if other > 65535 {
			other = 8686
		}
		return fmt.Errorf("port %d on 127.0.0.1 is taken: choose another one with `make run PORT=%d` (or --port %d)", port, other, other)
	case err != nil:
		return fmt.Errorf("port %d cannot be used: %w", port, err)
	}
	return l.Close()
}

// freePorts finds ports for the collector's health check and metrics. Fixed ports could be in use by another collector on this node.
func freePorts(n int) (ports []int, err error) {
	var listeners []*net.TCPListener
	for range n {
		l, listenErr := listen(0)
		if listenErr != nil {
			err = fmt.Errorf("find a free port: %w", listenErr)
			break
		}
		listeners = append(listeners, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	for _, l := range listeners { // after all are found, so that they differ
		err = errors.Join(err, l.Close())
	}
	return ports, err
}

func listen(port int) (*net.TCPListener, error) {
	return net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
}
