// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"errors"
	"sync"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// Labels that the kubelet sets on every container that it creates (k8s pkg/kubelet/kuberuntime/labels.go).
const (
	labelPodName       = "io.kubernetes.pod.name"
	labelPodNamespace  = "io.kubernetes.pod.namespace"
	labelPodUID        = "io.kubernetes.pod.uid"
	labelContainerName = "io.kubernetes.container.name"
	// annotationRestartCount, like metadata.attempt, still counts attempts that were removed.
	annotationRestartCount = "io.kubernetes.container.restartCount"
)

// The limit of the sandbox cache follows the number of containers in the last list. A full cache is emptied: a miss costs only
// reading the labels, or one call, and no other event reports that a sandbox whose containers had labels is gone.
const (
	minPodLimit = 1024
	maxPodLimit = 16384
)

// podCache holds pods by sandbox id. Its lock is never held during a call, because the reader of an event stream locks it, too.
type podCache struct {
	mu     sync.Mutex
	byID   map[string]container.Pod
	limit  int    // maximum number of pods
	listed uint64 // number of the List call after which the sandboxes were last listed
}

func (p *podCache) get(id string) (container.Pod, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pod, ok := p.byID[id]
	return pod, ok
}

func (p *podCache) add(pod container.Pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byID == nil || len(p.byID) >= max(p.limit, minPodLimit) {
		p.byID = map[string]container.Pod{}
	}
	p.byID[pod.SandboxID] = pod
}

// resize sets the limit for a node with this many containers.
func (p *podCache) resize(containers int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = min(minPodLimit+2*containers, maxPodLimit)
}

// beginListing reports whether the sandboxes were not listed since the given List call, and records that they now are.
func (p *podCache) beginListing(list uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listed == list {
		return false
	}
	p.listed = list
	return true
}

func (p *podCache) replace(pods map[string]container.Pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byID = pods
}

// podOf returns the pod of a container. The kubelet's labels on the container contain everything and save a call. For a
// container that the kubelet did not create, the sandboxes are listed, at most once per List; a sandbox that was not listed is
// requested by itself. If the sandbox is unknown, the result has only what the labels contain.
func (r *Runtime) podOf(ctx context.Context, c *runtimeapi.Container) (container.Pod, error) {
	id := c.GetPodSandboxId()
	if pod, ok := r.pods.get(id); ok {
		return pod, nil
	}
	labeled := container.Pod{
		SandboxID: runtime.Intern(id),
		Namespace: runtime.Intern(c.GetLabels()[labelPodNamespace]),
		Name:      runtime.Intern(c.GetLabels()[labelPodName]),
		UID:       runtime.Intern(c.GetLabels()[labelPodUID]),
	}
	if id == "" || len(id) > runtime.MaxText {
		return labeled, nil
	}
	if labeled.Namespace != "" && labeled.Name != "" && labeled.UID != "" {
		r.pods.add(labeled)
		return labeled, nil
	}
	if r.pods.beginListing(r.lists.Load()) {
		if err := r.listPods(ctx); err != nil {
			return container.Pod{}, err
		}
		if pod, ok := r.pods.get(id); ok {
			return pod, nil
		}
	}
	pod, err := r.fetchPod(ctx, id)
	if errors.Is(err, runtime.ErrNotFound) {
		return labeled, nil
	}
	if err != nil {
		return container.Pod{}, err
	}
	r.pods.add(pod)
	return pod, nil
}

// listPods replaces the cache by the sandboxes that the runtime lists now, which removes deleted pods.
func (r *Runtime) listPods(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	answer, err := r.client.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{}, largest(r.bounds.pods))
	if err != nil {
		return r.explain(err, "list the pod sandboxes")
	}
	pods := make(map[string]container.Pod, min(len(answer.GetItems()), maxPodLimit))
	for _, s := range answer.GetItems() {
		if id := s.GetId(); id != "" && len(id) <= runtime.MaxText && len(pods) < maxPodLimit {
			pods[id] = podFrom(id, s.GetMetadata())
		}
	}
	r.pods.replace(pods)
	return nil
}

func (r *Runtime) fetchPod(ctx context.Context, id string) (container.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	answer, err := r.client.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: id})
	if err != nil {
		return container.Pod{}, r.explain(err, "get the status of pod sandbox "+id)
	}
	return podFrom(id, answer.GetStatus().GetMetadata()), nil
}

func podFrom(id string, m *runtimeapi.PodSandboxMetadata) container.Pod {
	return container.Pod{
		SandboxID: runtime.Intern(id),
		Namespace: runtime.Intern(m.GetNamespace()),
		Name:      runtime.Intern(m.GetName()),
		UID:       runtime.Intern(m.GetUid()),
	}
}

// IsSandbox reports whether id is known to be a pod sandbox's. False means unknown: no call may have returned the sandbox yet.
func (r *Runtime) IsSandbox(id string) bool {
	_, ok := r.pods.get(id)
	return ok
}
