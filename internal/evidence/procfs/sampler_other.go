// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package procfs

import (
	"context"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// Sampler takes samples of containers. This system has none.
type Sampler struct{}

// NewSampler returns ErrUnsupported.
func NewSampler(Config) (*Sampler, error) { return nil, ErrUnsupported }

// Sample returns ErrUnsupported.
func (*Sampler) Sample(context.Context, evidence.Target) (evidence.Sample, error) {
	return evidence.Sample{}, ErrUnsupported
}

// Stats returns the zero Stats.
func (*Sampler) Stats() Stats { return Stats{} }

// Close does nothing.
func (*Sampler) Close() error { return nil }
