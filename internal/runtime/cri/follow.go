// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/runtime"
)

const (
	// settle is how long a subscription must live, after the runtime answered another call on the same connection, until it
	// is believed to stand. No server tells that it accepted a subscription; one that refuses does so at once.
	settle = 50 * time.Millisecond
	// instant is how soon a clean end before any message means that the stream is switched off, as in CRI-O without
	// enable_pod_events.
	instant = time.Second
)

// Stream is a server's stream of messages that a Runtime's endpoint offers beside the unary calls.
type Stream[M any] struct {
	// Name of what is streamed, for messages: "container events".
	Name string
	// Open subscribes on conn, which is used for nothing else.
	Open func(ctx context.Context, conn grpc.ClientConnInterface) (grpc.ServerStreamingClient[M], error)
	// Handle is called with every message, in order. It must not block. An error ends the stream.
	Handle func(*M) error
}

// Follow reads a stream over a connection of its own until ctx ends (nil) or the stream does (an error). It calls ready
// once, when the subscription stands, from another goroutine than the one that reads: were ready to block, the stream would
// be read all the same, and the first messages may be taken before it returns.
//
// A server that has no such stream, has it switched off or does not allow it says so at the first Recv: that is
// runtime.ErrNoStream, and ready is not called then, unless the runtime took longer to refuse than to answer.
func Follow[M any](ctx context.Context, r *Runtime, s Stream[M], ready func()) error {
	doing := "follow the " + s.Name
	conn, err := r.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()

	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began := time.Now()
	stream, err := s.Open(inner, conn)
	if err != nil {
		return r.ended(ctx, inner, err, doing)
	}
	first, confirmed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(confirmed)
		if err := r.stands(inner, conn, first); err != nil {
			cancel(err)
		} else if inner.Err() == nil {
			ready()
		}
	}()
	defer func() { cancel(nil); <-confirmed }()

	taken := false
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) && !taken && time.Since(began) < instant {
			return fmt.Errorf("%s at %s: it ended at once: %w", doing, r.endpoint, runtime.ErrNoStream)
		}
		if err != nil {
			return r.ended(ctx, inner, err, doing)
		}
		if !taken {
			close(first)
			taken = true
		}
		if err := s.Handle(m); err != nil {
			return fmt.Errorf("%s at %s: %w", doing, r.endpoint, err)
		}
	}
}

// stands waits until the subscription that was sent before on the same connection must have reached the runtime: until the
// runtime answered a later call and some time passed, or the first message proved it.
func (r *Runtime) stands(ctx context.Context, conn grpc.ClientConnInterface, first <-chan struct{}) error {
	call, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	if _, err := runtimeapi.NewRuntimeServiceClient(conn).Version(call, &runtimeapi.VersionRequest{Version: "v1"}); err != nil {
		return err
	}
	wait := time.NewTimer(settle)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-first:
	case <-ctx.Done():
	}
	return nil
}

// ended says why a stream ended. inner is the stream's own context, whose cause is the reason where we ended it.
func (r *Runtime) ended(ctx, inner context.Context, err error, doing string) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the caller ended the stream; what it was doing then is no fault
	}
	if inner.Err() != nil {
		err = context.Cause(inner)
	}
	if code := status.Code(err); code == codes.Unimplemented || code == codes.PermissionDenied {
		return fmt.Errorf("%s at %s: %w: %w", doing, r.endpoint, runtime.ErrNoStream, err)
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s at %s: the runtime ended the stream", doing, r.endpoint)
	}
	return r.explain(err, doing)
}
