// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// statusPoll is the interval at which Wait gets a container's status.
const statusPoll = 20 * time.Millisecond

// ContainerSpec describes a container. Only Name is needed.
type ContainerSpec struct {
	Name        string
	Attempt     uint32   // the number of earlier starts of the same name in the pod
	Image       string   // default ProbeImage
	Command     []string // default: the image's entrypoint
	Args        []string // such as {"exit", "3"}; see package probe
	MemoryLimit int64    // bytes, without swap; 0 is no limit
	Env         map[string]string
	Labels      map[string]string
	Annotations map[string]string
	Mounts      map[string]string // directories of this machine, by their mount point in the container; read-only
	Privileged  bool
	Expect      End // copied to the record
}

// Create creates a container, not yet started, and returns its id.
func (d *Driver) Create(ctx context.Context, pod *Pod, spec ContainerSpec) (id string, err error) {
	if spec.Image == "" {
		spec.Image = ProbeImage
	}
	config := &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: spec.Name, Attempt: spec.Attempt},
		Image:    &cri.ImageSpec{Image: spec.Image, UserSpecifiedImage: spec.Image},
		Command:  spec.Command,
		Args:     spec.Args,
		LogPath:  fmt.Sprintf("%s_%d.log", spec.Name, spec.Attempt),
		Labels: merge(spec.Labels, map[string]string{
			"io.kubernetes.container.name": spec.Name,
			"io.kubernetes.pod.name":       pod.Name,
			"io.kubernetes.pod.namespace":  pod.Namespace,
			"io.kubernetes.pod.uid":        pod.UID,
		}),
		Annotations: merge(spec.Annotations, map[string]string{
			"io.kubernetes.container.restartCount":             strconv.FormatUint(uint64(spec.Attempt), 10),
			"io.kubernetes.container.terminationMessagePath":   "/dev/termination-log",
			"io.kubernetes.container.terminationMessagePolicy": "File",
			"io.kubernetes.pod.terminationGracePeriod":         "30",
		}),
		Linux: &cri.LinuxContainerConfig{
			Resources: &cri.LinuxContainerResources{
				MemoryLimitInBytes: spec.MemoryLimit, MemorySwapLimitInBytes: spec.MemoryLimit,
			},
			SecurityContext: &cri.LinuxContainerSecurityContext{NamespaceOptions: namespaces()},
		},
	}
	if spec.Privileged {
		config.Linux.SecurityContext.Privileged = true
	}
	for at, source := range spec.Mounts {
		config.Mounts = append(config.Mounts, &cri.Mount{ContainerPath: at, HostPath: source, Readonly: true})
	}
	for key, value := range spec.Env {
		config.Envs = append(config.Envs, &cri.KeyValue{Key: key, Value: []byte(value)})
	}
	answer, err := d.cri.CreateContainer(ctx, &cri.CreateContainerRequest{PodSandboxId: pod.ID, Config: config, SandboxConfig: pod.config})
	if err != nil {
		return "", fmt.Errorf("create container %s in pod %s/%s: %w", spec.Name, pod.Namespace, pod.Name, err)
	}
	id = answer.GetContainerId()
	d.add(&Record{Expect: spec.Expect, Identity: Identity{
		ID: id, Name: spec.Name, Attempt: spec.Attempt, Image: spec.Image,
		SandboxID: pod.ID, Pod: pod.Name, Namespace: pod.Namespace, PodUID: pod.UID,
		LogFile: filepath.Join(pod.config.GetLogDirectory(), config.LogPath),
	}})
	_, err = d.Status(ctx, id)
	return id, err
}

// Start starts a created container. An error may be the runtime's refusal to run the command; the container then exists, with a
// status of that reason.
func (d *Driver) Start(ctx context.Context, id string) error {
	if _, err := d.cri.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: id}); err != nil {
		d.update(id, func(r *Record) { r.StartError = err.Error() })
		return fmt.Errorf("start container %s: %w", id, err)
	}
	return nil
}

// Run is Create and Start.
func (d *Driver) Run(ctx context.Context, pod *Pod, spec ContainerSpec) (id string, err error) {
	id, err = d.Create(ctx, pod, spec)
	if err != nil {
		return "", err
	}
	return id, d.Start(ctx, id)
}

// Stop sends SIGTERM, and SIGKILL after the grace period (in whole seconds, rounded up; 0 kills at once). It returns when the
// container has ended.
func (d *Driver) Stop(ctx context.Context, id string, grace time.Duration) error {
	seconds := int64((grace + time.Second - 1) / time.Second)
	if _, err := d.cri.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: id, Timeout: seconds}); err != nil {
		return fmt.Errorf("stop container %s: %w", id, err)
	}
	return nil
}

// Remove records the container's last status and removes it, by force when it still runs; how it ended is then unknown. A removal
// that the daemon's death interrupted can be tried again: a container that no longer exists then counts as removed.
func (d *Driver) Remove(ctx context.Context, id string) error {
	_, err := d.Status(ctx, id)
	was, known := d.Record(id)
	if tried := known && !was.RemovingAt.IsZero(); tried && status.Code(err) == codes.NotFound {
		d.update(id, func(r *Record) { r.RemovedAt = time.Now() })
		return nil
	}
	if err != nil {
		return err
	}
	d.update(id, func(r *Record) {
		if r.RemovingAt.IsZero() {
			r.RemovingAt = time.Now()
		}
	})
	if _, err := d.cri.RemoveContainer(ctx, &cri.RemoveContainerRequest{ContainerId: id}); err != nil {
		return fmt.Errorf("remove container %s: %w", id, err)
	}
	d.update(id, func(r *Record) { r.RemovedAt = time.Now() })
	return nil
}

// Reconcile updates the records from the runtime: it adds containers whose creation was never answered, gets the status of all, and
// records those that no longer exist as removed. Call it after the daemon was killed during calls, when no call is under way.
func (d *Driver) Reconcile(ctx context.Context) error {
	answer, err := d.cri.ListContainers(ctx, &cri.ListContainersRequest{})
	if err != nil {
		return fmt.Errorf("reconcile the record: list the containers: %w", err)
	}
	listed := map[string]bool{}
	for _, c := range answer.GetContainers() {
		listed[c.GetId()] = true
		if _, known := d.Record(c.GetId()); !known {
			labels := c.GetLabels()
			d.add(&Record{Identity: Identity{
				ID: c.GetId(), Name: c.GetMetadata().GetName(), Attempt: c.GetMetadata().GetAttempt(), SandboxID: c.GetPodSandboxId(),
				Pod: labels["io.kubernetes.pod.name"], Namespace: labels["io.kubernetes.pod.namespace"], PodUID: labels["io.kubernetes.pod.uid"],
			}})
		}
		if _, err := d.Status(ctx, c.GetId()); err != nil {
			return fmt.Errorf("reconcile the record: %w", err)
		}
	}
	for _, r := range d.Records() {
		if listed[r.ID] || !r.RemovedAt.IsZero() {
			continue
		}
		d.update(r.ID, func(r *Record) {
			if r.RemovingAt.IsZero() {
				r.RemovingAt = r.reportedAt
			}
			r.RemovedAt = time.Now()
		})
	}
	return nil
}

// Status gets a container's status from the runtime and records it.
func (d *Driver) Status(ctx context.Context, id string) (*cri.ContainerStatus, error) {
	answer, err := d.cri.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		return nil, fmt.Errorf("status of container %s: %w", id, err)
	}
	reported := answer.GetStatus()
	d.update(id, func(r *Record) { r.Status, r.reportedAt = statusOf(reported), time.Now() })
	return reported, nil
}

// Wait polls until the container has ended, records that, and returns the record. It does not miss a container of 50 ms: an ended
// container stays until it is removed.
func (d *Driver) Wait(ctx context.Context, id string) (Record, error) {
	return d.waitFor(ctx, id, "to end", func(s *cri.ContainerStatus) bool {
		return s.GetState() == cri.ContainerState_CONTAINER_EXITED
	})
}

func (d *Driver) waitFor(ctx context.Context, id, what string, reached func(*cri.ContainerStatus) bool) (Record, error) {
	tick := time.NewTicker(statusPoll)
	defer tick.Stop()
	for {
		reported, err := d.Status(ctx, id)
		if err == nil && reached(reported) {
			r, _ := d.Record(id)
			return r, nil
		}
		if err != nil && status.Code(err) == codes.NotFound {
			return Record{}, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return Record{}, fmt.Errorf("wait for container %s %s: %w (last state %s)", id, what, context.Cause(ctx), reported.GetState())
		}
	}
}

// Ready waits until the probe program in the container writes that it handles SIGTERM. PID 1 without a handler ignores an earlier
// signal.
func (d *Driver) Ready(ctx context.Context, id string) error {
	r, _ := d.Record(id)
	isReady := func() bool {
		log, err := os.ReadFile(r.LogFile)
		return err == nil && bytes.Contains(log, []byte(" ready\n"))
	}
	r, err := d.waitFor(ctx, id, "to be ready", func(s *cri.ContainerStatus) bool {
		return isReady() || s.GetState() == cri.ContainerState_CONTAINER_EXITED
	})
	if err != nil {
		return err
	}
	if !isReady() {
		return fmt.Errorf("container %s ended before it was ready: exit %d, %s", id, r.ExitCode, r.Reason)
	}
	return nil
}
