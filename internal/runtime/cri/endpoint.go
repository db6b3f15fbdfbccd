// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/zastava-otel/zastava/internal/runtime"
)

const (
	// gRPC reconnects with the kubelet's back-off (cri-client): soon, and at least every 3 s.
	minBackoff     = 100 * time.Millisecond
	maxBackoff     = 3 * time.Second
	connectTimeout = 5 * time.Second
)

// CheckEndpoint returns an error if s is not a valid endpoint in a configuration.
func CheckEndpoint(s string) error {
	_, err := parseEndpoint(s)
	return err
}

func parseEndpoint(s string) (runtime.Endpoint, error) {
	return runtime.ParseEndpoint(s, "CRI",
		"write unix:///run/containerd/containerd.sock, or npipe:////./pipe/containerd-containerd on Windows")
}

// dialState holds the outcome of dialing: gRPC keeps only the text of a dial error, and the remedy depends on its kind.
type dialState struct {
	made atomic.Uint64 // connections made
	last atomic.Pointer[error]
}

// connect opens one connection to the endpoint.
func (r *Runtime) connect(ctx context.Context) (net.Conn, error) {
	if r.socket == nil {
		return dialPipe(ctx, r.endpoint.Address)
	}
	return r.socket.Dial(ctx)
}

// dial returns a connection that connects at its first use and again by path after it broke, because a restarted runtime
// creates a new socket file. state may be nil.
func (r *Runtime) dial(state *dialState) (*grpc.ClientConn, error) {
	dialer := func(ctx context.Context, _ string) (net.Conn, error) {
		conn, err := r.connect(ctx)
		if state != nil {
			if err == nil {
				state.made.Add(1)
			}
			state.last.Store(&err)
		}
		return conn, err
	}
	// probe connects to the socket before a call makes gRPC connect. gRPC writes a warning into the collector's log for each
	// failed attempt, which would be about a thousand for a runtime that is down for an hour.
	probe := func(ctx context.Context, conn *grpc.ClientConn) error {
		if s := conn.GetState(); s == connectivity.Ready || s == connectivity.Connecting {
			return nil
		}
		socket, err := r.connect(ctx)
		if err == nil {
			return socket.Close()
		}
		if state != nil {
			state.last.Store(&err)
		}
		if ctx.Err() != nil {
			return status.FromContextError(ctx.Err()).Err()
		}
		return status.Error(codes.Unavailable, err.Error())
	}
	conn, err := grpc.NewClient("passthrough:///"+r.endpoint.String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority("localhost"),
		grpc.WithContextDialer(dialer),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			if err := probe(ctx, conn); err != nil {
				return err
			}
			return call(ctx, method, req, reply, conn, opts...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			if err := probe(ctx, conn); err != nil {
				return nil, err
			}
			return stream(ctx, desc, conn, method, opts...)
		}),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(r.bounds.object)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: minBackoff, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxBackoff},
			MinConnectTimeout: connectTimeout,
		}))
	if err != nil {
		return nil, fmt.Errorf("prepare the connection to %s: %w", r.endpoint, err)
	}
	return conn, nil
}
