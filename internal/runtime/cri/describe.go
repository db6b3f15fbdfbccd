// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"fmt"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// Describe returns what stays the same over a container's life. The image's repository digests are complete only after the
// first Inspect, because the lists of some runtimes do not contain them.
func (r *Runtime) Describe(ctx context.Context, s runtime.Summary) (*container.Container, error) {
	listed, ok := s.Item.(*listItem)
	if !ok || listed == nil {
		return nil, fmt.Errorf("describe container %s: the summary does not come from a CRI list", s.ID)
	}
	item, err := listed.decode()
	if err != nil {
		return nil, fmt.Errorf("describe container %s at %s: %w", s.ID, r.endpoint, err)
	}
	info, err := r.cachedInfo(ctx)
	if err != nil {
		return nil, err
	}
	pod, err := r.podOf(ctx, item)
	if err != nil {
		return nil, err
	}
	c := &container.Container{
		Engine:      info.Engine,
		Runtime:     r.name,
		Version:     info.Version,
		Owner:       r.owner(),
		ID:          item.Id,
		Name:        runtime.Intern(nameOf(item.Metadata, item.Labels)),
		CreatedAt:   plausibleTime(item.CreatedAt),
		Attempt:     item.GetMetadata().GetAttempt(),
		Pod:         pod,
		Labels:      r.labels.Keep(item.Labels),
		Annotations: r.annotations.Keep(item.Annotations),
	}
	c.Image = imageOf(item.Image, item.ImageRef, item.ImageId)
	return c, nil
}

// nameOf returns the name of a container from its metadata, or else from the kubelet's label.
func nameOf(m *runtimeapi.ContainerMetadata, labels map[string]string) string {
	if n := m.GetName(); n != "" {
		return n
	}
	return labels[labelContainerName]
}
