// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package crifake

import (
	"fmt"
	"time"
)

// Life is the truth about one container, with which a test compares what an observer reports. Times of what has not happened are
// zero.
type Life struct {
	ID, Sandbox, Name string
	Attempt           uint32
	Created           time.Time
	Started           time.Time
	Finished          time.Time
	ExitCode          int32
	Reason            string
}

// Life returns the truth about one container; false when no container has that id.
func (s *Server) Life(id string) (Life, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.containers[id]
	if !ok {
		return Life{}, false
	}
	return e.life(), true
}

func (e *entry) life() Life {
	return Life{
		ID: e.item.Id, Sandbox: e.item.PodSandboxId, Name: e.item.Metadata.GetName(), Attempt: e.item.Metadata.GetAttempt(),
		Created: when(e.status.CreatedAt), Started: when(e.status.StartedAt), Finished: when(e.status.FinishedAt),
		ExitCode: e.status.ExitCode, Reason: e.status.Reason,
	}
}

func when(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// Fill starts n containers in pods of perPod and returns their ids.
func (s *Server) Fill(n, perPod int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]string, 0, n)
	var sandbox string
	for i := range n {
		if i%max(perPod, 1) == 0 {
			sandbox = s.runPod(fmt.Sprintf("team-%d", i%7), fmt.Sprintf("pod-%d-%d", len(s.podOrder), i))
		}
		id, err := s.create(sandbox, fmt.Sprintf("c%d", i%max(perPod, 1)), 0)
		if err != nil {
			panic("crifake: " + err.Error()) // the pod was created above
		}
		s.start(s.containers[id])
		ids = append(ids, id)
	}
	return ids
}

// Restart ends a container if it runs and starts its next attempt, as the kubelet does: a new id, the same name, the same pod. The
// old container stays, exited.
func (s *Server) Restart(id string, code int32, reason string) (string, error) {
	var next string
	var failed error
	err := s.with("restart", id, func(e *entry) {
		if e.pid != 0 {
			s.end(e, code, reason)
		}
		next, failed = s.create(e.item.PodSandboxId, e.item.Metadata.GetName(), e.item.Metadata.GetAttempt()+1)
		if failed == nil {
			s.start(s.containers[next])
		}
	})
	if err != nil {
		return "", err
	}
	return next, failed
}

// OOMInside makes the kernel kill a process of a running container that is not its main process, as containerd reports it.
func (s *Server) OOMInside(id string) error {
	return s.with("kill a process of", id, func(e *entry) { e.status.Reason = "OOMKilled" })
}

// Step does one random thing to one random container — end it, start its next attempt, or remove it when it has ended — and
// returns the truth about that container before its removal. In the long run the number of running containers stays the same. It
// returns false when there are no containers.
func (s *Server) Step() (Life, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.order) == 0 {
		return Life{}, false
	}
	id := s.order[s.random.IntN(len(s.order))]
	e := s.containers[id]
	switch {
	case e.pid != 0:
		ends := []struct {
			code   int32
			reason string
		}{{0, "Completed"}, {1, "Error"}, {3, "Error"}, {137, "OOMKilled"}, {143, "Error"}}
		how := ends[s.random.IntN(len(ends))]
		s.end(e, how.code, how.reason)
	default:
		next, err := s.create(e.item.PodSandboxId, e.item.Metadata.GetName(), e.item.Metadata.GetAttempt()+1)
		if err == nil {
			s.start(s.containers[next])
		}
		s.remove(id)
	}
	return e.life(), true
}
