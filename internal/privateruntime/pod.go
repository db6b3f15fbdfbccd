// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/google/uuid"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/privateruntime/wipe"
)

// Driver runs pods and containers through CRI as a kubelet does, and records what it did and what the runtime reported. It is safe
// for concurrent use, except for concurrent calls about the same container.
type Driver struct {
	runtime *Containerd
	cri     cri.RuntimeServiceClient
	tasks   tasks.TasksClient

	mu      sync.Mutex // guards what follows
	records []*Record
	byID    map[string]*Record
}

// Driver returns a driver without records.
func (c *Containerd) Driver() *Driver {
	return &Driver{
		runtime: c,
		cri:     cri.NewRuntimeServiceClient(c.conn),
		tasks:   tasks.NewTasksClient(c.conn),
		byID:    map[string]*Record{},
	}
}

// PodSpec describes a pod. Only Name is needed.
type PodSpec struct {
	Name        string
	Namespace   string // default "default"
	UID         string // default a new UUID
	Labels      map[string]string
	Annotations map[string]string
	Privileged  bool // it may have privileged containers
}

// Pod is a running sandbox.
type Pod struct {
	ID, Name, Namespace, UID string

	cgroup string
	config *cri.PodSandboxConfig
}

// namespaces returns the host's network, because there is no CNI plugin, and a PID namespace for each container, so that its process
// is PID 1. The container's own configuration must have them too: its default PID mode is POD.
func namespaces() *cri.NamespaceOption {
	return &cri.NamespaceOption{Network: cri.NamespaceMode_NODE, Pid: cri.NamespaceMode_CONTAINER, Ipc: cri.NamespaceMode_POD}
}

// RunPod starts a sandbox with the labels and annotations that a kubelet sets.
func (d *Driver) RunPod(ctx context.Context, spec PodSpec) (*Pod, error) {
	pod := &Pod{Name: spec.Name, Namespace: spec.Namespace, UID: spec.UID}
	if pod.Namespace == "" {
		pod.Namespace = "default"
	}
	if pod.UID == "" {
		pod.UID = uuid.NewString()
	}
	pod.cgroup = filepath.Join(cgroupRoot(d.runtime.dir), "pod-"+pod.UID)
	logs := filepath.Join(d.runtime.dir, "logs", pod.Namespace+"_"+pod.Name+"_"+pod.UID)
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, fmt.Errorf("run pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	pod.config = &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: pod.Name, Namespace: pod.Namespace, Uid: pod.UID},
		LogDirectory: logs,
		Labels: merge(spec.Labels, map[string]string{
			"io.kubernetes.pod.name":      pod.Name,
			"io.kubernetes.pod.namespace": pod.Namespace,
			"io.kubernetes.pod.uid":       pod.UID,
		}),
		Annotations: merge(spec.Annotations, map[string]string{
			"kubernetes.io/config.seen":   time.Now().UTC().Format(time.RFC3339Nano),
			"kubernetes.io/config.source": "api",
		}),
		Linux: &cri.LinuxPodSandboxConfig{
			CgroupParent:    pod.cgroup,
			SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: namespaces(), Privileged: spec.Privileged},
		},
	}
	answer, err := d.cri.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: pod.config})
	if err != nil {
		return nil, fmt.Errorf("run pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	pod.ID = answer.GetPodSandboxId()
	return pod, nil
}

// merge returns base with the entries of over, which win. Either may be nil.
func merge(base, over map[string]string) map[string]string {
	all := maps.Clone(base)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, over)
	return all
}

// RemovePod stops and removes a pod with all its containers, and then its cgroup, which a runtime expects the kubelet to remove. It
// records each container's last status before the removal.
func (d *Driver) RemovePod(ctx context.Context, pod *Pod) error {
	fail := func(err error) error {
		return fmt.Errorf("remove pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	if _, err := d.cri.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: pod.ID}); err != nil {
		return fail(err)
	}
	var failed []error
	for _, r := range d.Records() {
		if r.SandboxID == pod.ID && r.RemovedAt.IsZero() {
			failed = append(failed, d.Remove(ctx, r.ID))
		}
	}
	if err := errors.Join(failed...); err != nil {
		return fail(err)
	}
	if _, err := d.cri.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: pod.ID}); err != nil {
		return fail(err)
	}
	if err := wipe.RemoveCgroup(pod.cgroup); err != nil {
		return fail(err)
	}
	if err := os.RemoveAll(pod.config.GetLogDirectory()); err != nil {
		return fail(err)
	}
	return nil
}
