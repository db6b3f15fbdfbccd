// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package workload

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/test/realruntime"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRoundShowsEveryOutcome plays on a real containerd until every scene was
// on, and watches from outside what the runtime says of each container.
func TestRoundShowsEveryOutcome(t *testing.T) {
	c := realruntime.Containerd(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- Play(ctx, c.Driver()) }()

	client := cri.NewRuntimeServiceClient(c.Conn())
	outcomes := map[string]bool{}
	mostPods, attempts := 0, uint32(0)
	want := []string{"Completed", "Error", "OOMKilled", "StartError", "exit 139", "exit 137", "exit 3"}
	require.Eventually(t, func() bool {
		pods, err := client.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
		if err != nil {
			return false
		}
		mostPods = max(mostPods, len(pods.GetItems()))
		for _, pod := range pods.GetItems() {
			assert.Equal(t, namespace, pod.GetMetadata().GetNamespace())
		}
		list, err := client.ListContainers(ctx, &cri.ListContainersRequest{})
		if err != nil {
			return false
		}
		for _, container := range list.GetContainers() {
			if container.GetMetadata().GetName() == "api" {
				attempts = max(attempts, container.GetMetadata().GetAttempt())
			}
			if container.GetState() != cri.ContainerState_CONTAINER_EXITED {
				continue
			}
			status, err := client.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: container.GetId()})
			if err != nil {
				continue // removed meanwhile
			}
			outcomes[status.GetStatus().GetReason()] = true
			switch status.GetStatus().GetExitCode() {
			case 3:
				outcomes["exit 3"] = true
			case 137:
				outcomes["exit 137"] = true
			case 139:
				outcomes["exit 139"] = true
			}
		}
		for _, outcome := range want {
			if !outcomes[outcome] {
				return false
			}
		}
		return attempts >= 3
	}, 2*time.Minute, 50*time.Millisecond, "seen: %s, attempts %d", strings.Join(slices.Sorted(maps.Keys(outcomes)), ", "), attempts)
	assert.LessOrEqual(t, mostPods, keptPods+1+2, "the steady one, the crash loop, and one being played")
	cancel()
	require.NoError(t, <-done)
}

func TestPlayFailsWhenTheRuntimeIsDown(t *testing.T) {
	c := realruntime.Containerd(t)
	require.NoError(t, c.Kill())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.ErrorContains(t, Play(ctx, c.Driver()), "play the workload: run pod shop/")
}
