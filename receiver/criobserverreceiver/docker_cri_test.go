// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package criobserverreceiver

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"

	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/record"
	"github.com/zastava-otel/zastava/internal/test/crifake"
	"github.com/zastava-otel/zastava/internal/test/engine"
)

// reported returns the runtimes that reported each container, by the container's name.
func reported(sink *consumertest.LogsSink) map[string][]string {
	out := map[string][]string{}
	for _, logs := range sink.AllLogs() {
		for _, rl := range logs.ResourceLogs().All() {
			name, _ := rl.Resource().Attributes().Get(record.AttrContainerName)
			by, _ := rl.Resource().Attributes().Get(record.AttrRuntimeConfigured)
			if name.Str() != "" && !slices.Contains(out[name.Str()], by.Str()) {
				out[name.Str()] = append(out[name.Str()], by.Str())
			}
		}
	}
	return out
}

// The test observes a real Docker and a synthetic cri-dockerd. Containers with Kubernetes' labels are in both lists: CRI reports them
// and Docker reports the others, whichever is configured first.
func TestContainerOfCRIDockerdIsReportedOnce(t *testing.T) {
	d := engine.ForTest(t)
	run := func(name string, labels map[string]string) {
		t.Helper()
		made, err := d.Client().ContainerCreate(t.Context(), client.ContainerCreateOptions{
			Name: name, Config: &api.Config{Image: privateruntime.ProbeImage, Cmd: []string{"pause"}, Labels: labels}, HostConfig: &api.HostConfig{NetworkMode: "none"},
		})
		require.NoError(t, err)
		_, err = d.Client().ContainerStart(t.Context(), made.ID, client.ContainerStartOptions{})
		require.NoError(t, err)
	}
	kubernetes := func(container, kind string) map[string]string {
		return map[string]string{
			"io.kubernetes.pod.uid": "u1", "io.kubernetes.pod.name": "web", "io.kubernetes.pod.namespace": "shop",
			"io.kubernetes.container.name": container, "io.kubernetes.docker.type": kind,
		}
	}
	run("k8s_api_web_shop_u1_0", kubernetes("api", "container"))
	run("k8s_POD_web_shop_u1_0", kubernetes("POD", "podsandbox"))
	run("plain", nil)

	for _, first := range []string{"cri-dockerd", "docker"} {
		t.Run(first+" first", func(t *testing.T) {
			cri, err := crifake.Start(filepath.Join(t.TempDir(), "cri.sock"), crifake.Options{Name: "docker", Version: "29.0.0"})
			require.NoError(t, err)
			t.Cleanup(cri.Stop)
			cri.Inject(crifake.Fault{Method: "Version", Delay: 500 * time.Millisecond, Times: 1}) // long enough for a first list of Docker
			made, err := cri.Create(cri.RunPod("shop", "web"), "api", 0)
			require.NoError(t, err)
			require.NoError(t, cri.Start(made))

			cfg := quick("")
			cfg.Runtimes = []RuntimeConfig{{Name: "cri-dockerd", Engine: EngineCRI, Endpoint: cri.Endpoint()}, {Name: "docker", Engine: EngineDocker, Endpoint: d.Endpoint()}}
			if first == "docker" {
				slices.Reverse(cfg.Runtimes)
			}
			sink := new(consumertest.LogsSink)
			start(t, cfg, sink, componenttest.NewNopHost())
			later := "later-" + first
			eventually(t, func() bool { got := reported(sink); return len(got["api"]) > 0 && len(got["plain"]) > 0 }, "the inventory of both")
			run("k8s_"+later+"_web_shop_u1_0", kubernetes(later, "container"))
			run("plain-"+later, nil)
			eventually(t, func() bool { return len(reported(sink)["plain-"+later]) > 0 }, "the new container of Docker")
			got := reported(sink)
			assert.Equal(t, []string{"cri-dockerd"}, got["api"])
			assert.Equal(t, []string{"docker"}, got["plain"])
			for name := range got {
				assert.Contains(t, []string{"api", "plain", "plain-later-cri-dockerd", "plain-later-docker"}, name, "Docker's own socket reported a container of Kubernetes or a sandbox")
			}
		})
	}
}

func TestDockerWaitsForTheFirstAnswersOfCRI(t *testing.T) {
	var a firstAnswers
	a.wait(t.Context()) // without CRI endpoints
	a.expect([]RuntimeConfig{{Endpoint: "/run/cri-dockerd.sock"}, {Endpoint: "/run/docker.sock"}, {}})
	assert.Len(t, a.pending, 1)
	began := time.Now()
	done := make(chan struct{})
	go func() {
		a.wait(t.Context())
		close(done)
	}()
	a.answered("/run/elsewhere.sock")
	select {
	case <-done:
		assert.GreaterOrEqual(t, time.Since(began), answerWait, "it did not wait")
	case <-time.After(10 * time.Millisecond):
	}
	a.answered("/run/cri-dockerd.sock")
	a.answered("/run/cri-dockerd.sock")
	<-done
	a.wait(t.Context())
}
