// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/engine"
)

// TestWindowsEventsAgreeWithEveryDockerLife observes a real Docker Engine through a named pipe with the Windows build, run as a service.
func TestWindowsEventsAgreeWithEveryDockerLife(t *testing.T) {
	w := newWine(t)
	d := engine.ForTest(t)
	pipe := w.serve("docker_engine", d.Endpoint())
	e := &dockerDriver{t: t, docker: d}
	s := w.windowsSite(newStack(t, "", ""), e, "npipe:////./pipe/docker_engine", quick...)
	s.checkAcrossCollectorRestarts(t)
	s.checkAcrossDisconnection(pipe.close, pipe.open)
	s.checkAcrossEngineRestart()
}

// TestWindowsPipesAreDetected lets the collector detect Docker's pipe and containerd's CRI pipe, each connected to a real runtime.
func TestWindowsPipesAreDetected(t *testing.T) {
	w := newWine(t)
	c, driver, pod := driverOf(t)
	d := engine.ForTest(t)
	w.serve("containerd-containerd", c.Endpoint())
	w.serve("docker_engine", d.Endpoint())
	e := &dockerDriver{t: t, docker: d}
	s := w.windowsSite(newStack(t, "", ""), e, "", quick...)
	s.start()
	s.await("both runtimes", func() bool {
		metrics := s.metrics.Text()
		return strings.Contains(metrics, `otelcol_criobserver_list_age{`) && strings.Count(metrics, "\notelcol_criobserver_list_age{") == 2
	})
	e.run("of-docker", nil, "sleepms", "200", "3").awaitEnd().remove()
	_, err := driver.Play(t.Context(), pod, privateruntime.Life{Name: "of-containerd", Args: []string{"exit", "4"}, Expect: privateruntime.End{ExitCode: 4, Reason: "Error"}}, 0)
	require.NoError(t, err)
	e.agree(s.stack)
	ofContainerd := slices.DeleteFunc(s.events(), func(ev backendapi.Event) bool { return ev.Runtime.Engine == "docker" })
	require.Empty(t, differences(truthsOf(driver), ofContainerd))
}
