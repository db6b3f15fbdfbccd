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
	// settle is how long a subscription must last, after the runtime answered another call on the same connection, until it
	// counts as active. Servers do not confirm a subscription, but one that refuses does so at once.
	settle = 50 * time.Millisecond
	// disabledWithin is the time in which an end of the stream before any message means that the stream is disabled, as in
	// CRI-O without enable_pod_events.
	disabledWithin = time.Second
)

// Stream is a stream of messages from the server at a Runtime's endpoint.
type Stream[M any] struct {
	// Name of the stream's content, for error messages: "container events".
	Name string
	// Open subscribes on conn, which serves no other stream.
	Open func(ctx context.Context, conn grpc.ClientConnInterface) (grpc.ServerStreamingClient[M], error)
	// Handle processes one message. It is called in order and must not block. An error ends the stream.
	Handle func(*M) error
}

// Follow reads a stream over its own connection until ctx ends (nil) or the stream ends (an error). It calls ready once, when
// the subscription is active, in another goroutine than the one that reads: a ready that blocks does not stop the reading, and
// the first messages may be handled before ready returns.
//
// A server that has no such stream, has it disabled or does not allow it reports that at the first Recv. Follow then returns
// runtime.ErrNoStream and does not call ready, except if the runtime refused the stream later than it answered another call.
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
		return r.streamError(ctx, inner, err, doing)
	}
	first, confirmed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(confirmed)
		if err := r.awaitActive(inner, conn, first); err != nil {
			cancel(err)
		} else if inner.Err() == nil {
			ready()
		}
	}()
	defer func() { cancel(nil); <-confirmed }()

	received := false
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) && !received && time.Since(began) < disabledWithin {
			return fmt.Errorf("%s at %s: the stream ended at once: %w", doing, r.endpoint, runtime.ErrNoStream)
		}
		if err != nil {
			return r.streamError(ctx, inner, err, doing)
		}
		if !received {
			close(first)
			received = true
		}
		if err := s.Handle(m); err != nil {
			return fmt.Errorf("%s at %s: %w", doing, r.endpoint, err)
		}
	}
}

// awaitActive waits until the runtime must have processed the subscription that was sent earlier on conn: until it answered a
// later call and the settle time passed, or the first message arrived.
func (r *Runtime) awaitActive(ctx context.Context, conn grpc.ClientConnInterface, first <-chan struct{}) error {
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

// streamError returns the error for a stream that ended with err, or nil if ctx ended. inner is the stream's own context; its
// cause is the reason if Follow itself ended the stream.
func (r *Runtime) streamError(ctx, inner context.Context, err error, doing string) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the caller ended the stream, so its error does not matter
	}
	if inner.Err() != nil {
		err = context.Cause(inner)
	}
	err = runtime.Bound(err)
	if code := status.Code(err); code == codes.Unimplemented || code == codes.PermissionDenied {
		return fmt.Errorf("%s at %s: %w: %w", doing, r.endpoint, runtime.ErrNoStream, err)
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s at %s: the runtime ended the stream", doing, r.endpoint)
	}
	return r.explain(err, doing)
}
