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

// Labels that the kubelet puts on every container it makes (k8s pkg/kubelet/kuberuntime/labels.go).
const (
	labelPodName       = "io.kubernetes.pod.name"
	labelPodNamespace  = "io.kubernetes.pod.namespace"
	labelPodUID        = "io.kubernetes.pod.uid"
	labelContainerName = "io.kubernetes.container.name"
	// annotationRestartCount survives the removal of earlier attempts, as metadata.attempt does.
	annotationRestartCount = "io.kubernetes.container.restartCount"
)

// The cache of sandboxes is bounded by the size of the node, as the last list showed it, and emptied when it is full: a miss
// costs a look at the labels, or one call. Nothing else tells that a sandbox whose containers had labels is gone.
const (
	fewestPods = 1024
	mostPods   = 16384
)

// podCache remembers pods by sandbox id. Its lock is never held over a call: the reader of an event stream takes it too.
type podCache struct {
	mu     sync.Mutex
	byID   map[string]container.Pod
	limit  int    // how many are kept
	listed uint64 // the List during which the sandboxes were last listed
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
	if p.byID == nil || len(p.byID) >= max(p.limit, fewestPods) {
		p.byID = map[string]container.Pod{}
	}
	p.byID[pod.SandboxID] = pod
}

// fit sets how many are kept on a node of so many containers.
func (p *podCache) fit(containers int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = min(fewestPods+2*containers, mostPods)
}

// due tells whether the sandboxes have not been listed since the given List, and takes note that they are now.
func (p *podCache) due(list uint64) bool {
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

// podOf tells the pod of a container. The labels that the kubelet writes on the container tell all of it and save a call;
// for a container of another maker the sandboxes are listed, once per List at most, and then asked for one by one. Where
// the sandbox is not known either, what labels there are must do.
func (r *Runtime) podOf(ctx context.Context, c *runtimeapi.Container) (container.Pod, error) {
	id := c.GetPodSandboxId()
	if pod, ok := r.pods.get(id); ok {
		return pod, nil
	}
	labeled := container.Pod{
		SandboxID: intern(id),
		Namespace: intern(c.GetLabels()[labelPodNamespace]),
		Name:      intern(c.GetLabels()[labelPodName]),
		UID:       intern(c.GetLabels()[labelPodUID]),
	}
	if id == "" || len(id) > maxText {
		return labeled, nil
	}
	if labeled.Namespace != "" && labeled.Name != "" && labeled.UID != "" {
		r.pods.add(labeled)
		return labeled, nil
	}
	if r.pods.due(r.lists.Load()) {
		if err := r.listPods(ctx); err != nil {
			return container.Pod{}, err
		}
		if pod, ok := r.pods.get(id); ok {
			return pod, nil
		}
	}
	pod, err := r.askPod(ctx, id)
	if errors.Is(err, runtime.ErrNotFound) {
		return labeled, nil
	}
	if err != nil {
		return container.Pod{}, err
	}
	r.pods.add(pod)
	return pod, nil
}

// listPods replaces the cache by what the runtime lists now, so that pods which are gone are forgotten.
func (r *Runtime) listPods(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	answer, err := r.client.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return r.explain(err, "list the pod sandboxes")
	}
	pods := make(map[string]container.Pod, min(len(answer.GetItems()), mostPods))
	for _, s := range answer.GetItems() {
		if id := s.GetId(); id != "" && len(id) <= maxText && len(pods) < mostPods {
			pods[id] = podFrom(id, s.GetMetadata())
		}
	}
	r.pods.replace(pods)
	return nil
}

func (r *Runtime) askPod(ctx context.Context, id string) (container.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	answer, err := r.client.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: id})
	if err != nil {
		return container.Pod{}, r.explain(err, "ask for pod sandbox "+id)
	}
	return podFrom(id, answer.GetStatus().GetMetadata()), nil
}

func podFrom(id string, m *runtimeapi.PodSandboxMetadata) container.Pod {
	return container.Pod{
		SandboxID: intern(id),
		Namespace: intern(m.GetNamespace()),
		Name:      intern(m.GetName()),
		UID:       intern(m.GetUid()),
	}
}

// IsSandbox tells whether an id is known to be a pod sandbox's. False means not known: a sandbox may never have been asked
// about.
func (r *Runtime) IsSandbox(id string) bool {
	_, ok := r.pods.get(id)
	return ok
}
