// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime

import (
	"context"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// For the tests with a real containerd, which are outside this package because package realruntime imports it.
var (
	CgroupRoot = cgroupRoot
	SocketPath = socketPath
)

// Cgroup returns the pod's cgroup.
func (p *Pod) Cgroup() string { return p.cgroup }

// WaitFor is waitFor.
func (d *Driver) WaitFor(ctx context.Context, id, what string, reached func(*cri.ContainerStatus) bool) (Record, error) {
	return d.waitFor(ctx, id, what, reached)
}

// ForgetRemoval makes the record one of a removal whose answer was lost.
func (d *Driver) ForgetRemoval(id string) {
	d.update(id, func(r *Record) { r.RemovedAt = time.Time{} })
}
