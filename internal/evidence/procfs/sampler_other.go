// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package procfs

import (
	"context"

	"github.com/zastava-otel/zastava/internal/evidence"
)

// Sampler takes samples of containers. There is none on this system.
type Sampler struct{}

// NewSampler gives ErrUnsupported.
func NewSampler(Config) (*Sampler, error) { return nil, ErrUnsupported }

// Sample gives ErrUnsupported.
func (*Sampler) Sample(context.Context, evidence.Target) (evidence.Sample, error) {
	return evidence.Sample{}, ErrUnsupported
}

// Stats gives the zero Stats.
func (*Sampler) Stats() Stats { return Stats{} }

// Close does nothing.
func (*Sampler) Close() error { return nil }
