// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/test/engine"
)

// site is a collector that observes an engine, on Linux or in Wine.
type site struct {
	*stack
	engine *dockerDriver
	start  func()
	stop   func() // in order, as an operator does
	kill   func() // with SIGKILL
}

// checkAcrossCollectorRestarts checks the events of containers that run and end while the collector observes, after it was stopped, and
// after it was killed.
func (s *site) checkAcrossCollectorRestarts(t *testing.T) {
	e := s.engine
	before := e.run("was-there", nil, "pause")
	before.inventory = true
	s.start()
	s.observing()
	running := e.lives(s.stack)
	e.agree(s.stack)

	before.signal("KILL").awaitEnd().remove()
	e.agree(s.stack)
	for name, end := range map[string]func(){"stopped": s.stop, "crashed": s.kill} {
		ends := e.run("ends-while-"+name, nil, "pause")
		e.agree(s.stack)
		end()
		ends.signal("KILL").awaitEnd()
		e.run("lives-while-"+name, nil, "sleepms", "200", "4").awaitEnd()
		s.start()
		e.agree(s.stack)
		stop := find(s.events(), ends.id, backendapi.KindStop)
		require.NotNil(t, stop)
		assert.Equal(t, "checkpoint", stop.Observation.Source, "%s: the checkpoint was kept", name)
	}
	running.signal("KILL").awaitEnd()
	e.agree(s.stack)
}

// checkAcrossDisconnection makes the engine unreachable for the collector while containers run and end.
func (s *site) checkAcrossDisconnection(disconnect, reconnect func()) {
	e := s.engine
	ends := e.run("ends-unseen", nil, "pause")
	e.agree(s.stack)
	disconnect()
	s.await("the health to fail", func() bool { return s.healthStatus() == http.StatusInternalServerError })
	ends.signal("KILL").awaitEnd()
	e.run("lives-unseen", nil, "sleepms", "200", "5").awaitEnd()
	gone := e.run("after-it", nil, "pause")
	reconnect()
	s.await("the health to recover", func() bool { return s.healthStatus() == http.StatusOK })
	e.agree(s.stack)
	gone.signal("KILL").awaitEnd().remove()
	e.agree(s.stack)
}

// checkAcrossEngineRestart kills the engine and starts it again. A restarted engine stops the containers that it finds running.
func (s *site) checkAcrossEngineRestart() {
	e := s.engine
	lost := e.run("outlives-its-engine", nil, "pause")
	e.agree(s.stack)
	require.NoError(e.t, e.docker.Kill())
	s.await("the health to fail", func() bool { return s.healthStatus() == http.StatusInternalServerError })
	require.NoError(e.t, e.docker.Restart(e.t.Context()))
	s.await("the health to recover", func() bool { return s.healthStatus() == http.StatusOK })
	lost.awaitEnd()
	e.run("after-its-engine", nil, "sleepms", "200", "6").awaitEnd()
	e.agree(s.stack)
}

// quick is a configuration with which faults are reported, and end, within seconds.
var quick = []string{
	"receivers::criobserver::timeout: 5s", "receivers::criobserver::backoff::max_interval: 2s", "receivers::criobserver::resync_interval: 5s",
	"extensions::health_check::component_health::recovery_duration: 1s",
}

// TestDockerEventsAgreeWithEveryLife observes a real Docker Engine. Restarts of the collector and of the engine are in the long tests.
func TestDockerEventsAgreeWithEveryLife(t *testing.T) {
	d := engine.ForTest(t)
	s := &site{stack: newStack(t, d.Endpoint(), "auto", quick...), engine: &dockerDriver{t: t, docker: d}}
	s.start = s.observe
	s.stop = func() { s.collector.Stop() }
	s.kill = func() { s.collector.Kill() }
	if long() {
		s.checkAcrossCollectorRestarts(t)
		s.checkAcrossEngineRestart()
		return
	}
	s.start()
	s.observing()
	s.engine.lives(s.stack)
	s.engine.agree(s.stack)
}
