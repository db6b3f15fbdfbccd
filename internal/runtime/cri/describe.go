// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"fmt"
	"unicode/utf8"
	"unique"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

const (
	// maxText bounds every string that is kept, in bytes. Kubernetes names have 253 characters at most; image references and
	// label values of other makers have no limit of their own.
	maxText = 4096
)

// Describe tells what stays the same over a container's life. The image's repository digests are known after the first
// Inspect only: a list does not carry them on every runtime.
func (r *Runtime) Describe(ctx context.Context, s runtime.Summary) (*container.Container, error) {
	listed, ok := s.Item.(*listItem)
	if !ok || listed == nil {
		return nil, fmt.Errorf("describe container %s: the summary is not one of a CRI list", s.ID)
	}
	item, err := listed.decode()
	if err != nil {
		return nil, fmt.Errorf("describe container %s at %s: %w", s.ID, r.endpoint, err)
	}
	info, err := r.known(ctx)
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
		ID:          item.Id,
		Name:        intern(nameOf(item.Metadata, item.Labels)),
		CreatedAt:   saneTime(item.CreatedAt),
		Attempt:     item.GetMetadata().GetAttempt(),
		Pod:         pod,
		Labels:      r.labels.Keep(item.Labels, intern),
		Annotations: r.annotations.Keep(item.Annotations, intern),
	}
	c.Image = imageOf(item.Image, item.ImageRef, item.ImageId)
	return c, nil
}

func nameOf(m *runtimeapi.ContainerMetadata, labels map[string]string) string {
	if n := m.GetName(); n != "" {
		return n
	}
	return labels[labelContainerName]
}

// intern makes equal strings share memory: namespaces, image references and label values repeat over a node's containers.
func intern(s string) string {
	if s == "" {
		return ""
	}
	return unique.Make(clip(s, maxText)).Value()
}

// clip cuts s to at most n bytes, at the border of a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
