// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime

import (
	"context"
	"encoding/json"
	"fmt"
	"syscall"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"google.golang.org/grpc/metadata"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// PID returns the process id of the container's main process, in the host's PID namespace.
func (d *Driver) PID(ctx context.Context, id string) (int, error) {
	answer, err := d.cri.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: id, Verbose: true})
	if err != nil {
		return 0, fmt.Errorf("pid of container %s: %w", id, err)
	}
	var verbose struct {
		PID int `json:"pid"`
	}
	if err := json.Unmarshal([]byte(answer.GetInfo()["info"]), &verbose); err != nil {
		return 0, fmt.Errorf("pid of container %s: read the verbose status: %w", id, err)
	}
	if verbose.PID <= 0 {
		return 0, fmt.Errorf("pid of container %s: it has no process (%s)", id, answer.GetStatus().GetState())
	}
	return verbose.PID, nil
}

// Signal sends a signal to the container's main process directly, not through the runtime.
func (d *Driver) Signal(ctx context.Context, id string, signal syscall.Signal) error {
	pid, err := d.PID(ctx, id)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, signal); err != nil {
		return fmt.Errorf("send %s to container %s (pid %d): %w", signal, id, pid, err)
	}
	return nil
}

// Pause freezes a container through containerd's own API; CRI has no such call.
func (d *Driver) Pause(ctx context.Context, id string) error {
	if _, err := d.tasks.Pause(inKubernetes(ctx), &tasks.PauseTaskRequest{ContainerID: id}); err != nil {
		return fmt.Errorf("pause container %s: %w", id, err)
	}
	return nil
}

// Resume undoes Pause.
func (d *Driver) Resume(ctx context.Context, id string) error {
	if _, err := d.tasks.Resume(inKubernetes(ctx), &tasks.ResumeTaskRequest{ContainerID: id}); err != nil {
		return fmt.Errorf("resume container %s: %w", id, err)
	}
	return nil
}

// inKubernetes adds the containerd namespace, which containerd's API requires, to a call.
func inKubernetes(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "containerd-namespace", kubernetesNamespace)
}
