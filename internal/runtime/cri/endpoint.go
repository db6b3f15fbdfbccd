// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const (
	// maxMessage bounds one answer. The kubelet uses 16 MiB, which a unary list reaches near 11,000 containers (KEP-5825).
	maxMessage = 64 << 20
	// The connection is retried at the kubelet's pace (cri-client): soon, and at most every 3 s.
	minBackoff     = 100 * time.Millisecond
	maxBackoff     = 3 * time.Second
	connectTimeout = 5 * time.Second
)

// endpoint is where a runtime listens.
type endpoint struct {
	scheme  string // unix or npipe
	address string // a file path, or \\.\pipe\name
}

// String gives the endpoint as a URL.
func (e endpoint) String() string {
	if e.scheme == "npipe" {
		return "npipe://" + filepath.ToSlash(strings.ReplaceAll(e.address, `\`, "/"))
	}
	return e.scheme + "://" + e.address
}

// CheckEndpoint tells what is wrong with an endpoint of a configuration, if anything.
func CheckEndpoint(s string) error {
	_, err := parseEndpoint(s)
	return err
}

// parseEndpoint reads unix:///path, a bare absolute path, npipe:////./pipe/name, npipe://\\.\pipe\name or \\.\pipe\name.
func parseEndpoint(s string) (endpoint, error) {
	const want = "write unix:///run/containerd/containerd.sock, or npipe:////./pipe/containerd-containerd on Windows"
	scheme, rest, found := strings.Cut(s, "://")
	switch {
	case s == "":
		return endpoint{}, errors.New("endpoint: is empty; " + want)
	case found && scheme == "npipe", !found && strings.HasPrefix(s, `\\.\pipe\`):
		if !found {
			rest = s
		}
		address := strings.ReplaceAll(rest, "/", `\`)
		if name, ok := strings.CutPrefix(address, `\\.\pipe\`); !ok || name == "" {
			return endpoint{}, fmt.Errorf("endpoint: %q names no pipe; %s", s, want)
		}
		if !pipesSupported {
			return endpoint{}, fmt.Errorf("endpoint: %q is a Windows named pipe and this is not Windows; %s", s, want)
		}
		return endpoint{scheme: "npipe", address: address}, nil
	case found && scheme != "unix":
		return endpoint{}, fmt.Errorf("endpoint: the scheme %q is not known to CRI; %s", scheme, want)
	case !found:
		rest = s
	}
	if !filepath.IsAbs(rest) && !strings.HasPrefix(rest, "/") {
		if strings.Contains(rest, "@") { // and a password, perhaps: it is not repeated
			return endpoint{}, errors.New("endpoint: is not an absolute path, and holds a user name; " + want)
		}
		return endpoint{}, fmt.Errorf("endpoint: %q is not an absolute path; %s", s, want)
	}
	return endpoint{scheme: "unix", address: rest}, nil
}

// dialRecord remembers how dialing went: gRPC keeps only the text of a dial error, and the remedy depends on its kind.
type dialRecord struct {
	made atomic.Uint64 // connections made
	last atomic.Pointer[error]
}

// open connects to the endpoint once.
func (e endpoint) open(ctx context.Context) (net.Conn, error) {
	if e.scheme == "npipe" {
		return dialPipe(ctx, e.address)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", e.address)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn, nil
}

// dial makes a connection that connects when it is first used and, whenever it broke, again by path: the socket file of a
// restarted runtime is a new one.
func (e endpoint) dial(record *dialRecord) (*grpc.ClientConn, error) {
	dialer := func(ctx context.Context, _ string) (net.Conn, error) {
		conn, err := e.open(ctx)
		if record != nil {
			if err == nil {
				record.made.Add(1)
			}
			record.last.Store(&err)
		}
		return conn, err
	}
	// answers tries the socket before a call makes gRPC connect. gRPC writes a warning of its own into the collector's log for each
	// attempt that fails; of a runtime that is away for an hour there would be a thousand.
	answers := func(ctx context.Context, conn *grpc.ClientConn) error {
		if state := conn.GetState(); state == connectivity.Ready || state == connectivity.Connecting {
			return nil
		}
		probe, err := e.open(ctx)
		if err == nil {
			return probe.Close()
		}
		if record != nil {
			record.last.Store(&err)
		}
		if ctx.Err() != nil {
			return status.FromContextError(ctx.Err()).Err()
		}
		return status.Error(codes.Unavailable, err.Error())
	}
	conn, err := grpc.NewClient("passthrough:///"+e.String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority("localhost"),
		grpc.WithContextDialer(dialer),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			if err := answers(ctx, conn); err != nil {
				return err
			}
			return call(ctx, method, req, reply, conn, opts...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			if err := answers(ctx, conn); err != nil {
				return nil, err
			}
			return stream(ctx, desc, conn, method, opts...)
		}),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: minBackoff, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxBackoff},
			MinConnectTimeout: connectTimeout,
		}))
	if err != nil {
		return nil, fmt.Errorf("prepare the connection to %s: %w", e, err)
	}
	return conn, nil
}
