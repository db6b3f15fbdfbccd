// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import "google.golang.org/grpc"

// bounds limit what one answer of a runtime may cost. Decoding multiplies the size of a message: an empty element of two bytes becomes a
// struct of a hundred.
type bounds struct {
	list       int // bytes of a list of containers, which is not decoded, or of all messages of a streamed one
	pods       int // bytes of a list of sandboxes
	object     int // bytes of an answer about one object, and of one message of an event stream
	verbose    int // bytes of an answer with the complete configuration of a container
	containers int // in a list
}

var (
	// rootBounds are such that no real node reaches them. The kubelet allows lists of 16 MiB, which are exceeded at about 11,000
	// containers (KEP-5825). The limit of an object is gRPC's own default.
	rootBounds = bounds{list: 64 << 20, pods: 64 << 20, object: 4 << 20, verbose: 16 << 20, containers: 100_000}
	// userBounds are such that a hostile runtime of a user costs little memory, however it fills its answers.
	userBounds = bounds{list: 4 << 20, pods: 512 << 10, object: 256 << 10, verbose: 1 << 20, containers: 1_000}
)

// largest returns the option of a call whose answer may have that many bytes.
func largest(bytes int) grpc.CallOption { return grpc.MaxCallRecvMsgSize(bytes) }
