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

// site is a collector over an engine, wherever the collector runs.
type site struct {
	*stack
	engine *dockerDriver
	start  func()
	stop   func() // as an operator does
	kill   func() // as a crash does
}

// liveAndRestart is what every collector must tell truly of every engine: containers that live and end, a collector that is
// stopped and one that is killed while containers end.
func (s *site) liveAndRestart(t *testing.T) {
	e := s.engine
	before := e.run("was-there", nil, "pause")
	before.inventory = true
	s.start()
	s.observing()
	left := e.lives(s.stack)
	e.agree(s.stack)

	before.signal("KILL").ended().remove()
	e.agree(s.stack)
	for name, end := range map[string]func(){"stopped": s.stop, "crashed": s.kill} {
		ends := e.run("ends-while-"+name, nil, "pause")
		e.agree(s.stack)
		end()
		ends.signal("KILL").ended()
		e.run("lives-while-"+name, nil, "sleepms", "200", "4").ended()
		s.start()
		e.agree(s.stack)
		stop := find(s.events(), ends.id, backendapi.KindStop)
		require.NotNil(t, stop)
		assert.Equal(t, "checkpoint", stop.Observation.Source, "%s: the checkpoint was kept", name)
	}
	left.signal("KILL").ended()
	e.agree(s.stack)
}

// awayAndBack takes the way to the engine from under the observer while containers live and end.
func (s *site) awayAndBack(away, back func()) {
	e := s.engine
	ends := e.run("ends-unseen", nil, "pause")
	e.agree(s.stack)
	away()
	s.await("the health to fail", func() bool { return s.healthStatus() == http.StatusInternalServerError })
	ends.signal("KILL").ended()
	e.run("lives-unseen", nil, "sleepms", "200", "5").ended()
	gone := e.run("after-it", nil, "pause")
	back()
	s.await("the health to come back", func() bool { return s.healthStatus() == http.StatusOK })
	e.agree(s.stack)
	gone.signal("KILL").ended().remove()
	e.agree(s.stack)
}

// killedAndRestarted has the engine die and come back. It stops what it finds running then.
func (s *site) killedAndRestarted() {
	e := s.engine
	lost := e.run("outlives-its-engine", nil, "pause")
	e.agree(s.stack)
	require.NoError(e.t, e.docker.Kill())
	s.await("the health to fail", func() bool { return s.healthStatus() == http.StatusInternalServerError })
	require.NoError(e.t, e.docker.Restart(e.t.Context()))
	s.await("the health to come back", func() bool { return s.healthStatus() == http.StatusOK })
	lost.ended()
	e.run("after-its-engine", nil, "sleepms", "200", "6").ended()
	e.agree(s.stack)
}

// quick lets faults show and end within seconds.
var quick = []string{
	"receivers::criobserver::timeout: 5s", "receivers::criobserver::backoff::max_interval: 2s", "receivers::criobserver::resync_interval: 5s",
	"extensions::health_check::component_health::recovery_duration: 1s",
}

// TestDockerEventsAgreeWithEveryLife has the collector observe a real Docker; its restarts and the engine's are in the long tests.
func TestDockerEventsAgreeWithEveryLife(t *testing.T) {
	d := engine.ForTest(t)
	s := &site{stack: newStack(t, d.Endpoint(), "auto", quick...), engine: &dockerDriver{t: t, docker: d}}
	s.start = s.observe
	s.stop = func() { s.collector.Stop() }
	s.kill = func() { s.collector.Kill() }
	if long() {
		s.liveAndRestart(t)
		s.killedAndRestarted()
		return
	}
	s.start()
	s.observing()
	s.engine.lives(s.stack)
	s.engine.agree(s.stack)
}
