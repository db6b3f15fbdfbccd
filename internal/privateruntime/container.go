// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// statusPoll is how often Wait asks for a container's status.
const statusPoll = 20 * time.Millisecond

// ContainerSpec describes a container. Only Name is needed.
type ContainerSpec struct {
	Name        string
	Attempt     uint32   // how often the same name was started in the pod before
	Image       string   // default ProbeImage
	Command     []string // default: the image's entrypoint
	Args        []string // such as {"exit", "3"}; see the probe command
	MemoryLimit int64    // bytes, without swap; 0 is no limit
	Env         map[string]string
	Labels      map[string]string
	Annotations map[string]string
	Mounts      map[string]string // directories of this machine by where they are mounted, read-only
	Privileged  bool
	Expect      End // copied to the record
}

// Create makes a container, not yet started, and returns its id.
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
	d.add(&Record{
		ID: id, Name: spec.Name, Attempt: spec.Attempt, Image: spec.Image,
		SandboxID: pod.ID, Pod: pod.Name, Namespace: pod.Namespace, PodUID: pod.UID,
		LogFile: filepath.Join(pod.config.GetLogDirectory(), config.LogPath),
		Expect:  spec.Expect,
	})
	_, err = d.Status(ctx, id)
	return id, err
}

// Start starts a created container. An error may be the runtime's refusal to
// run the command; the container then exists, and its status says so.
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

// Stop sends SIGTERM, and SIGKILL after the grace period (whole seconds,
// rounded up; 0 kills at once). It returns when the container has ended.
func (d *Driver) Stop(ctx context.Context, id string, grace time.Duration) error {
	seconds := int64((grace + time.Second - 1) / time.Second)
	if _, err := d.cri.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: id, Timeout: seconds}); err != nil {
		return fmt.Errorf("stop container %s: %w", id, err)
	}
	return nil
}

// Remove records the container's last status and removes it, by force when it
// still runs: how it ended is then unknown to everyone. A removal that the
// daemon's death cut off can be tried again: what is gone then was removed.
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

// Reconcile brings the record up to what the runtime has: containers whose
// creation was answered to nobody are added, all others asked for, and those
// that are gone without this driver's doing count as removed. It is for after
// a daemon was killed under calls, when none is under way.
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
			d.add(&Record{
				ID: c.GetId(), Name: c.GetMetadata().GetName(), Attempt: c.GetMetadata().GetAttempt(), SandboxID: c.GetPodSandboxId(),
				Pod: labels["io.kubernetes.pod.name"], Namespace: labels["io.kubernetes.pod.namespace"], PodUID: labels["io.kubernetes.pod.uid"],
			})
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
				r.RemovingAt = r.saidAt
			}
			r.RemovedAt = time.Now()
		})
	}
	return nil
}

// Status asks the runtime and records the answer.
func (d *Driver) Status(ctx context.Context, id string) (*cri.ContainerStatus, error) {
	answer, err := d.cri.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		return nil, fmt.Errorf("status of container %s: %w", id, err)
	}
	said := answer.GetStatus()
	d.update(id, func(r *Record) { r.take(said) })
	return said, nil
}

// Wait asks until the container has ended, records that, and returns the
// record. A container of 50 ms is seen by it: an ended container stays listed
// until it is removed.
func (d *Driver) Wait(ctx context.Context, id string) (Record, error) {
	return d.waitFor(ctx, id, "to end", func(s *cri.ContainerStatus) bool {
		return s.GetState() == cri.ContainerState_CONTAINER_EXITED
	})
}

func (d *Driver) waitFor(ctx context.Context, id, what string, reached func(*cri.ContainerStatus) bool) (Record, error) {
	tick := time.NewTicker(statusPoll)
	defer tick.Stop()
	for {
		said, err := d.Status(ctx, id)
		if err == nil && reached(said) {
			r, _ := d.Record(id)
			return r, nil
		}
		if err != nil && status.Code(err) == codes.NotFound {
			return Record{}, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return Record{}, fmt.Errorf("wait for container %s %s: %w (last state %s)", id, what, context.Cause(ctx), said.GetState())
		}
	}
}

// Ready waits until the probe program in the container says that it is ready
// for SIGTERM. A signal that comes earlier does something else: PID 1 without a
// handler ignores it.
func (d *Driver) Ready(ctx context.Context, id string) error {
	r, _ := d.Record(id)
	said := func() bool {
		log, err := os.ReadFile(r.LogFile)
		return err == nil && bytes.Contains(log, []byte(" ready\n"))
	}
	r, err := d.waitFor(ctx, id, "to be ready", func(s *cri.ContainerStatus) bool {
		return said() || s.GetState() == cri.ContainerState_CONTAINER_EXITED
	})
	if err != nil {
		return err
	}
	if !said() {
		return fmt.Errorf("container %s ended before it was ready: exit %d, %s", id, r.ExitCode, r.Reason)
	}
	return nil
}

// PID is the container's main process, as the host numbers it.
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

// Signal sends a signal to the container's main process from outside, without
// the runtime's doing.
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

// inKubernetes names the containerd namespace of a call, as containerd's API wants it.
func inKubernetes(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "containerd-namespace", kubernetesNamespace)
}
