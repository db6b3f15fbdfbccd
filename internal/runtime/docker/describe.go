// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	api "github.com/moby/moby/api/types/container"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// The labels that are read regardless of the allow-list. Only the engine's own tools set them, and none contains a secret.
const (
	labelProject     = "com.docker.compose.project"
	labelService     = "com.docker.compose.service"
	labelNumber      = "com.docker.compose.container-number"
	labelOneOff      = "com.docker.compose.oneoff"
	labelServiceID   = "com.docker.swarm.service.id"
	labelServiceName = "com.docker.swarm.service.name"
	labelTaskID      = "com.docker.swarm.task.id"

	labelPodName       = "io.kubernetes.pod.name"
	labelPodNamespace  = "io.kubernetes.pod.namespace"
	labelPodUID        = "io.kubernetes.pod.uid"
	labelContainerName = "io.kubernetes.container.name"
	labelDockerType    = "io.kubernetes.docker.type"
	labelSandbox       = "io.kubernetes.sandbox.id"
)

// isKubernetes reports whether the kubelet created a container, through cri-dockerd.
func isKubernetes(labels map[string]string) bool {
	return labels[labelPodUID] != "" && labels[labelContainerName] != ""
}

// isSandbox reports whether a container is a pod sandbox.
func isSandbox(labels map[string]string) bool { return labels[labelDockerType] == "podsandbox" }

// belongsToCRI reports whether a container with these labels is a Kubernetes container or sandbox and is observed through CRI.
// If CRI is not observed, the labels have no special meaning, because any user can set them.
func (r *Runtime) belongsToCRI(labels map[string]string) bool {
	return (isKubernetes(labels) || isSandbox(labels)) && r.observedThroughCRI != nil && r.observedThroughCRI()
}

// Describe returns what stays the same over a container's life. Until the first Inspect, the creation time is in whole seconds
// and the image's digests are missing.
func (r *Runtime) Describe(_ context.Context, s runtime.Summary) (*container.Container, error) {
	item, ok := s.Item.(*api.Summary)
	if !ok || item == nil {
		return nil, fmt.Errorf("describe container %s: the summary does not come from a Docker list", s.ID)
	}
	c := &container.Container{
		Engine: "docker", Runtime: r.name, Owner: r.owner(), ID: item.ID, Name: runtime.Intern(nameIn(item.Names)), CreatedAt: plausible(time.Unix(item.Created, 0)),
		Image: container.Image{ID: runtime.Digest(item.ImageID)},
	}
	if runtime.Digest(item.Image) == "" {
		c.Image.Reference = runtime.Intern(item.Image)
	}
	if d := item.ImageManifestDescriptor; d != nil {
		c.Image.ManifestDigest = runtime.Digest(string(d.Digest))
	}
	r.readLabels(c, item.Labels)
	return c, nil
}

// readLabels sets the allowed labels of a container, and its Compose, Swarm or Kubernetes fields. c.Name must be the engine's
// name of the container.
func (r *Runtime) readLabels(c *container.Container, labels map[string]string) {
	c.Labels = r.labels.Keep(labels)
	c.Compose = container.Compose{Project: runtime.Intern(labels[labelProject]), Service: runtime.Intern(labels[labelService]), Number: runtime.Intern(labels[labelNumber])}
	c.Swarm = container.Swarm{ServiceID: runtime.Intern(labels[labelServiceID]), ServiceName: runtime.Intern(labels[labelServiceName]), TaskID: runtime.Intern(labels[labelTaskID])}
	if oneOff, err := strconv.ParseBool(labels[labelOneOff]); err == nil && oneOff {
		c.Compose.Number = "" // docker compose run: it has a number but is not one of the service's containers
	}
	if isKubernetes(labels) {
		c.Attempt = attempt(c.Name)
		c.Name = runtime.Intern(labels[labelContainerName])
		c.Pod = container.Pod{
			SandboxID: runtime.Intern(labels[labelSandbox]), Namespace: runtime.Intern(labels[labelPodNamespace]),
			Name: runtime.Intern(labels[labelPodName]), UID: runtime.Intern(labels[labelPodUID]),
		}
	}
}

// attempt returns the attempt from the name that cri-dockerd uses: k8s_<container>_<pod>_<namespace>_<uid>_<attempt>.
func attempt(name string) uint32 {
	if !strings.HasPrefix(name, "k8s_") {
		return 0
	}
	n, err := strconv.ParseUint(name[strings.LastIndexByte(name, '_')+1:], 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}
