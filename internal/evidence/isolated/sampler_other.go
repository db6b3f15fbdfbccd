// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package isolated

import (
	"context"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/evidence/procfs"
)

// NewSampler returns procfs.ErrUnsupported: there is no proc file system.
func NewSampler(Options) (*Sampler, error) { return nil, procfs.ErrUnsupported }

// Sampler is never made on this system.
type Sampler struct{}

// Sample returns procfs.ErrUnsupported.
func (*Sampler) Sample(context.Context, evidence.Target) (evidence.Sample, error) {
	return evidence.Sample{}, procfs.ErrUnsupported
}

// Remember does nothing.
func (*Sampler) Remember(context.Context, Store) {}

// Stats returns zeros.
func (*Sampler) Stats() Stats { return Stats{} }

// Close does nothing.
func (*Sampler) Close() error { return nil }
