// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package crifake

import (
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// The image of all containers, in the fields that containerd sets.
const (
	imageReference = "registry.example/shop/api:1.8"
	imageID        = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	imageDigest    = "registry.example/shop/api@sha256:2222222222222222222222222222222222222222222222222222222222222222"
)

type pod struct {
	id        string
	metadata  *runtimeapi.PodSandboxMetadata
	createdAt int64
	members   []string // ids of its containers
}

func (p *pod) status() *runtimeapi.PodSandboxStatus {
	return &runtimeapi.PodSandboxStatus{Id: p.id, Metadata: p.metadata, CreatedAt: p.createdAt}
}

type entry struct {
	item    *runtimeapi.Container
	status  *runtimeapi.ContainerStatus
	wire    []byte // item, encoded
	pid     uint32
	verbose string // set by Edit; made from pid when empty
}

// RunPod creates a pod and returns its sandbox id.
func (s *Server) RunPod(namespace, name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runPod(namespace, name)
}

func (s *Server) runPod(namespace, name string) string {
	id := s.id()
	s.pods[id] = &pod{
		id: id, createdAt: s.now(),
		metadata: &runtimeapi.PodSandboxMetadata{Namespace: namespace, Name: name, Uid: fmt.Sprintf("uid-%016x", s.random.Uint64())},
	}
	s.podOrder = append(s.podOrder, id)
	if s.options.SandboxEvents {
		s.publish(id, s.pods[id], runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT)
	}
	return id
}

// RemovePod removes a pod and all of its containers.
func (s *Server) RemovePod(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.pods[id]
	if !ok {
		return fmt.Errorf("remove pod %s: %w", id, errUnknown)
	}
	for _, member := range slices.Clone(p.members) {
		s.remove(member)
	}
	delete(s.pods, id)
	s.podOrder = slices.DeleteFunc(s.podOrder, func(other string) bool { return other == id })
	if s.options.SandboxEvents {
		s.publish(id, nil, runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT)
	}
	return nil
}

// Create creates a container in a pod and returns its id.
func (s *Server) Create(sandbox, name string, attempt uint32) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.create(sandbox, name, attempt)
}

func (s *Server) create(sandbox, name string, attempt uint32) (string, error) {
	p, ok := s.pods[sandbox]
	if !ok {
		return "", fmt.Errorf("create a container in pod %s: %w", sandbox, errUnknown)
	}
	id, created := s.id(), s.now()
	labels := map[string]string{"app": "shop"}
	annotations := map[string]string{}
	if !s.options.NoKubeletLabels {
		labels["io.kubernetes.container.name"] = name
		labels["io.kubernetes.pod.name"] = p.metadata.Name
		labels["io.kubernetes.pod.namespace"] = p.metadata.Namespace
		labels["io.kubernetes.pod.uid"] = p.metadata.Uid
		annotations["io.kubernetes.container.hash"] = "d2b5f9c1"
		annotations["io.kubernetes.container.restartCount"] = strconv.FormatUint(uint64(attempt), 10)
		annotations["io.kubernetes.container.terminationMessagePath"] = "/dev/termination-log"
		annotations["io.kubernetes.container.terminationMessagePolicy"] = "File"
		annotations["io.kubernetes.pod.terminationGracePeriod"] = "30"
	}
	e := &entry{
		item: &runtimeapi.Container{
			Id: id, PodSandboxId: sandbox,
			Metadata: &runtimeapi.ContainerMetadata{Name: name, Attempt: attempt},
			Image:    &runtimeapi.ImageSpec{Image: imageID, UserSpecifiedImage: imageReference},
			ImageRef: imageID, ImageId: imageID,
			State: runtimeapi.ContainerState_CONTAINER_CREATED, CreatedAt: created, Labels: labels, Annotations: annotations,
		},
		status: &runtimeapi.ContainerStatus{
			Id: id, Metadata: &runtimeapi.ContainerMetadata{Name: name, Attempt: attempt},
			State: runtimeapi.ContainerState_CONTAINER_CREATED, CreatedAt: created,
			Image: &runtimeapi.ImageSpec{Image: imageReference}, ImageRef: imageDigest, ImageId: imageID,
			Labels: labels, Annotations: annotations,
		},
	}
	s.containers[id] = e
	s.order = append(s.order, id)
	p.members = append(p.members, id)
	s.changed(e, runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT)
	return id, nil
}

// changed encodes an item again and sends an event to the subscribers.
func (s *Server) changed(e *entry, what runtimeapi.ContainerEventType) {
	e.item.State = e.status.State
	e.wire = encode(e.item)
	s.list = nil
	s.publish(e.item.Id, s.pods[e.item.PodSandboxId], what)
}

// Start starts a created container.
func (s *Server) Start(id string) error { return s.with("start", id, s.start) }

func (s *Server) start(e *entry) {
	e.pid = 1000 + s.random.Uint32N(1<<20)
	e.status.State = runtimeapi.ContainerState_CONTAINER_RUNNING
	e.status.StartedAt = s.now()
	s.changed(e, runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT)
}

// FailStart makes the start of a created container fail, as containerd reports it.
func (s *Server) FailStart(id string) error {
	return s.with("fail the start of", id, func(e *entry) { s.end(e, 128, "StartError") })
}

// Exit ends a running container.
func (s *Server) Exit(id string, code int32, reason string) error {
	return s.with("exit", id, func(e *entry) { s.end(e, code, reason) })
}

func (s *Server) end(e *entry, code int32, reason string) {
	e.pid = 0
	e.status.State = runtimeapi.ContainerState_CONTAINER_EXITED
	e.status.FinishedAt = s.now()
	e.status.ExitCode = code
	e.status.Reason = reason
	s.changed(e, runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT)
}

// Remove removes a container in any state.
func (s *Server) Remove(id string) error {
	return s.with("remove", id, func(*entry) { s.remove(id) })
}

func (s *Server) remove(id string) {
	e := s.containers[id]
	delete(s.containers, id)
	s.order = slices.DeleteFunc(s.order, func(other string) bool { return other == id })
	p := s.pods[e.item.PodSandboxId]
	if p != nil {
		p.members = slices.DeleteFunc(p.members, func(other string) bool { return other == id })
	}
	s.list = nil
	s.publish(id, p, runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT)
}

// Edit changes a list item and its status without an event and without any check, for answers that no correct runtime sends. The
// returned string, unless empty, becomes the verbose answer.
func (s *Server) Edit(id string, edit func(item *runtimeapi.Container, status *runtimeapi.ContainerStatus) (verbose string)) error {
	return s.with("edit", id, func(e *entry) {
		// The encoder may still read the values of an earlier answer.
		e.item, e.status = proto.CloneOf(e.item), proto.CloneOf(e.status)
		e.verbose = edit(e.item, e.status)
		e.wire = encode(e.item)
		s.list = nil
	})
}

// AddItem adds an item to the list only: one without an id, or with the id of another.
func (s *Server) AddItem(item *runtimeapi.Container) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raw = append(s.raw, proto.CloneOf(item))
	s.list = nil
}

// with calls do with a container, under the lock.
func (s *Server) with(doing, id string, do func(*entry)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.containers[id]
	if !ok {
		return fmt.Errorf("%s container %s: %w", doing, id, errUnknown)
	}
	do(e)
	return nil
}
