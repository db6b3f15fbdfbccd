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

// The labels that are read whatever the allow-list says. Their makers are the engine's own tools, and none holds a secret.
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

// isKubernetes tells that the kubelet made a container, through cri-dockerd.
func isKubernetes(labels map[string]string) bool {
	return labels[labelPodUID] != "" && labels[labelContainerName] != ""
}

// isSandbox tells that a container only holds a pod's namespaces.
func isSandbox(labels map[string]string) bool { return labels[labelDockerType] == "podsandbox" }

// speaksCRI tells that CRI is observed for a container that bears these labels: as a container, or as a sandbox, which is none.
// Where nobody observes CRI they are anybody's labels, and hide nothing.
func (r *Runtime) speaksCRI(labels map[string]string) bool {
	return (isKubernetes(labels) || isSandbox(labels)) && r.elsewhere != nil && r.elsewhere()
}

// Describe tells what stays the same over a container's life. The creation time is of whole seconds and the image's digests
// are missing until the first Inspect.
func (r *Runtime) Describe(_ context.Context, s runtime.Summary) (*container.Container, error) {
	item, ok := s.Item.(*api.Summary)
	if !ok || item == nil {
		return nil, fmt.Errorf("describe container %s: the summary is not one of a Docker list", s.ID)
	}
	c := &container.Container{
		Engine: "docker", Runtime: r.name, ID: item.ID, Name: intern(nameIn(item.Names)), CreatedAt: sane(time.Unix(item.Created, 0)),
		Image: container.Image{ID: digest(item.ImageID)},
	}
	if digest(item.Image) == "" {
		c.Image.Reference = intern(item.Image)
	}
	if d := item.ImageManifestDescriptor; d != nil {
		c.Image.ManifestDigest = digest(string(d.Digest))
	}
	r.readLabels(c, item.Labels)
	return c, nil
}

// readLabels completes a container by what its labels tell: those that are allowed, and whose it is. Its name is the engine's.
func (r *Runtime) readLabels(c *container.Container, labels map[string]string) {
	c.Labels = r.labels.Keep(labels, intern)
	c.Compose = container.Compose{Project: intern(labels[labelProject]), Service: intern(labels[labelService]), Number: intern(labels[labelNumber])}
	c.Swarm = container.Swarm{ServiceID: intern(labels[labelServiceID]), ServiceName: intern(labels[labelServiceName]), TaskID: intern(labels[labelTaskID])}
	if oneOff, err := strconv.ParseBool(labels[labelOneOff]); err == nil && oneOff {
		c.Compose.Number = "" // docker compose run: numbered like the service's own containers, and none of them
	}
	if isKubernetes(labels) {
		c.Attempt = attempt(c.Name)
		c.Name = intern(labels[labelContainerName])
		c.Pod = container.Pod{
			SandboxID: intern(labels[labelSandbox]), Namespace: intern(labels[labelPodNamespace]),
			Name: intern(labels[labelPodName]), UID: intern(labels[labelPodUID]),
		}
	}
}

// attempt reads the number of the attempt from the name that cri-dockerd gives: k8s_<container>_<pod>_<namespace>_<uid>_<n>.
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
