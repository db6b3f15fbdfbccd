// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/test/crifake"
)

func TestDescribeMakesNoSandboxCallWhenLabelsAreComplete(t *testing.T) {
	s, r := fake(t, crifake.Options{Name: "containerd", Version: "1.6.20"}, Options{})
	sandbox := s.RunPod("shop", "api-7c9f")
	id, err := s.Create(sandbox, "api", 2)
	require.NoError(t, err)
	c := described(t, r, id)
	assert.Equal(t, "containerd", c.Engine)
	assert.Equal(t, "node", c.Runtime)
	assert.Equal(t, "1.6.20", c.Version)
	assert.Equal(t, "api", c.Name)
	assert.EqualValues(t, 2, c.Attempt)
	assert.Equal(t, life(t, s, id).Created, c.CreatedAt)
	assert.Equal(t, sandbox, c.Pod.SandboxID)
	assert.Equal(t, "shop", c.Pod.Namespace)
	assert.Equal(t, "api-7c9f", c.Pod.Name)
	assert.NotEmpty(t, c.Pod.UID)
	assert.Equal(t, "registry.example/shop/api:1.8", c.Image.Reference)
	assert.Nil(t, c.Labels, "none is allowed")
	assert.Nil(t, c.Annotations)
	assert.Zero(t, s.Calls("ListPodSandbox"))
	assert.Zero(t, s.Calls("PodSandboxStatus"))
	assert.True(t, r.IsSandbox(sandbox))
	assert.False(t, r.IsSandbox(id))
}

func TestDescribeListsSandboxesOncePerListWithoutLabels(t *testing.T) {
	s, r := fake(t, crifake.Options{NoKubeletLabels: true}, Options{})
	s.Fill(9, 3)
	list, err := r.List(t.Context(), nil)
	require.NoError(t, err)
	describeAll := func() {
		for _, item := range list {
			c, err := r.Describe(t.Context(), item)
			require.NoError(t, err)
			assert.NotEmpty(t, c.Pod.UID)
			assert.NotEmpty(t, c.Pod.Namespace)
			assert.True(t, strings.HasPrefix(c.Pod.Name, "pod-"), c.Pod.Name)
		}
	}
	describeAll()
	describeAll()
	assert.Equal(t, 1, s.Calls("ListPodSandbox"))

	// A pod that was created after the list is requested by itself.
	late := s.RunPod("shop", "late")
	id, err := s.Create(late, "c", 0)
	require.NoError(t, err)
	found, err := r.Find(t.Context(), id)
	require.NoError(t, err)
	c, err := r.Describe(t.Context(), found)
	require.NoError(t, err)
	assert.Equal(t, "late", c.Pod.Name)
	assert.Equal(t, 1, s.Calls("ListPodSandbox"))
	assert.Equal(t, 1, s.Calls("PodSandboxStatus"))

	// Removed pods are removed from the cache when the sandboxes are listed again.
	gone := life(t, s, list[0].ID).Sandbox
	require.NoError(t, s.RemovePod(gone))
	s.Fill(1, 1)
	list, err = r.List(t.Context(), list[:0])
	require.NoError(t, err)
	_, err = r.Describe(t.Context(), list[len(list)-1])
	require.NoError(t, err)
	assert.Equal(t, 2, s.Calls("ListPodSandbox"))
	assert.False(t, r.IsSandbox(gone))
}

func TestPodCacheIsBoundedByNodeSize(t *testing.T) {
	s, r := fake(t, crifake.Options{}, Options{})
	first := s.Fill(1, 1)[0]
	sandbox := described(t, r, first).Pod.SandboxID
	for i := range minPodLimit + 2 {
		assert.LessOrEqual(t, len(r.pods.byID), minPodLimit+2)
		r.pods.add(container.Pod{SandboxID: strconv.Itoa(i)})
	}
	assert.False(t, r.IsSandbox(sandbox), "the cache was emptied")
	assert.Equal(t, sandbox, described(t, r, first).Pod.SandboxID)
	assert.True(t, r.IsSandbox(sandbox))
	r.pods.resize(1 << 40)
	assert.Equal(t, maxPodLimit, r.pods.limit)
}

func TestDescribeReturnsKnownPartsWithoutSandboxOrLabels(t *testing.T) {
	s, r := fake(t, crifake.Options{NoKubeletLabels: true}, Options{})
	s.AddItem(&runtimeapi.Container{
		Id: "orphan", PodSandboxId: "gone",
		Labels: map[string]string{labelPodName: "left", labelContainerName: "c"},
	})
	s.AddItem(&runtimeapi.Container{Id: "bare"})
	c := described(t, r, "orphan")
	assert.Equal(t, container.Pod{SandboxID: "gone", Name: "left"}, c.Pod)
	assert.Equal(t, "c", c.Name)
	c = described(t, r, "bare")
	assert.Zero(t, c.Pod)
	assert.Zero(t, c.CreatedAt)
	_, err := r.Describe(t.Context(), runtime.Summary{ID: "x"})
	require.Error(t, err)
}

func TestDescribeFailsWhenSandboxCallFails(t *testing.T) {
	s, r := fake(t, crifake.Options{NoKubeletLabels: true}, Options{})
	s.Fill(1, 1)
	list, err := r.List(t.Context(), nil)
	require.NoError(t, err)
	lift := s.Inject(crifake.Fault{Method: "ListPodSandbox", Code: codes.Internal})
	_, err = r.Describe(t.Context(), list[0])
	require.Error(t, err)
	lift()
	c, err := r.Describe(t.Context(), list[0])
	require.NoError(t, err, "the next attempt requests only this sandbox")
	assert.NotEmpty(t, c.Pod.UID)
}

func TestDescribeKeepsOnlyAllowedLabels(t *testing.T) {
	s, r := fake(t, crifake.Options{}, Options{Labels: []string{"app", "io.kubernetes.pod.n*"}, Annotations: []string{"*hash"}})
	id := s.Fill(1, 1)[0]
	c := described(t, r, id)
	assert.Equal(t, map[string]string{
		"app": "shop", "io.kubernetes.pod.name": c.Pod.Name, "io.kubernetes.pod.namespace": c.Pod.Namespace,
	}, c.Labels)
	assert.Equal(t, map[string]string{"io.kubernetes.container.hash": "d2b5f9c1"}, c.Annotations)
}

func TestDescribeBoundsLabels(t *testing.T) {
	s, r := fake(t, crifake.Options{}, Options{Labels: []string{"z-named", "*"}})
	id := s.Fill(1, 1)[0]
	require.NoError(t, s.Edit(id, func(item *runtimeapi.Container, _ *runtimeapi.ContainerStatus) string {
		item.Labels = map[string]string{"z-named": "v", "huge": strings.Repeat("ы", 1<<19), strings.Repeat("k", 1<<20): "v"}
		item.Metadata.Name = strings.Repeat("n", 1<<20)
		for i := range 1000 {
			item.Labels[strings.Repeat("x", i+1)] = "v"
		}
		return ""
	}))
	c := described(t, r, id)
	assert.LessOrEqual(t, len(c.Labels), runtime.MaxKept)
	assert.Contains(t, c.Labels, "z-named", "an earlier pattern has priority")
	for range 5 {
		assert.Equal(t, c.Labels, described(t, r, id).Labels, "the same ones each time")
	}
	assert.Len(t, c.Name, runtime.MaxText)
	for k, v := range c.Labels {
		assert.LessOrEqual(t, len(k), runtime.MaxText)
		assert.LessOrEqual(t, len(v), runtime.MaxText)
		assert.True(t, utf8.ValidString(v))
	}
	assert.Equal(t, "ы", runtime.Clip("ыы", 3))
}

func TestImageIsReadFromFieldsOfEachRuntime(t *testing.T) {
	id := "sha256:" + strings.Repeat("1", 64)
	digest := "sha256:" + strings.Repeat("2", 64)
	for name, test := range map[string]struct {
		spec    *runtimeapi.ImageSpec
		ref, id string
		want    container.Image
	}{
		"containerd 1.6 list, requested by reference": {
			spec: &runtimeapi.ImageSpec{Image: "ghcr.io/acme/api:1.8"}, ref: id,
			want: container.Image{Reference: "ghcr.io/acme/api:1.8", ID: id},
		},
		"containerd 2 list, requested by the kubelet": {
			spec: &runtimeapi.ImageSpec{Image: id, UserSpecifiedImage: "ghcr.io/acme/api:1.8"}, ref: id, id: id,
			want: container.Image{Reference: "ghcr.io/acme/api:1.8", ID: id},
		},
		"containerd status": {
			spec: &runtimeapi.ImageSpec{Image: "ghcr.io/acme/api:1.8"}, ref: "ghcr.io/acme/api@" + digest, id: id,
			want: container.Image{
				Reference: "ghcr.io/acme/api:1.8", ID: id,
				RepoDigests: []string{"ghcr.io/acme/api@" + digest}, ManifestDigest: digest,
			},
		},
		"CRI-O: image id without its algorithm": {
			spec: &runtimeapi.ImageSpec{Image: "quay.io/a/b:1"}, ref: "quay.io/a/b@" + digest, id: strings.Repeat("1", 64),
			want: container.Image{
				Reference: "quay.io/a/b:1", ID: id, RepoDigests: []string{"quay.io/a/b@" + digest}, ManifestDigest: digest,
			},
		},
		"cri-dockerd: references with a scheme": {
			spec: &runtimeapi.ImageSpec{Image: "busybox:1"}, ref: "docker-pullable://busybox@" + digest, id: "docker://" + id,
			want: container.Image{Reference: "busybox:1", ID: id, RepoDigests: []string{"busybox@" + digest}, ManifestDigest: digest},
		},
		"requested by digest": {
			spec: &runtimeapi.ImageSpec{Image: "registry:5000/a/b@" + digest}, ref: id,
			want: container.Image{
				Reference: "registry:5000/a/b@" + digest, ID: id,
				RepoDigests: []string{"registry:5000/a/b@" + digest}, ManifestDigest: digest,
			},
		},
		"only the id": {
			spec: &runtimeapi.ImageSpec{Image: id}, want: container.Image{ID: id},
		},
		"nothing": {},
		"nonsense": {
			spec: &runtimeapi.ImageSpec{Image: "@"}, ref: "a@b:c", id: "sha256:xyz",
			want: container.Image{Reference: "@"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, imageOf(test.spec, test.ref, test.id))
		})
	}
}

func TestWithImageCopiesOnlyWhenImageHasMore(t *testing.T) {
	c := &container.Container{Image: container.Image{Reference: "a:1"}}
	assert.Same(t, c, withImage(c, container.Image{Reference: "b:1"}))
	more := withImage(c, container.Image{ID: "sha256:1", RepoDigests: []string{"a@sha256:2"}, ManifestDigest: "sha256:2"})
	assert.NotSame(t, c, more)
	assert.Empty(t, c.Image.ID)
	assert.Equal(t, container.Image{
		Reference: "a:1", ID: "sha256:1", RepoDigests: []string{"a@sha256:2"}, ManifestDigest: "sha256:2",
	}, more.Image)
	c.Image.RepoDigests = []string{"a@sha256:2"}
	assert.Equal(t, "sha256:2", withImage(c, container.Image{ManifestDigest: "sha256:2"}).Image.ManifestDigest)
}
