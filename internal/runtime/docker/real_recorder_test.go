// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package docker_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/observer"
	"github.com/zastava-otel/zastava/internal/record"
)

// canary is a stand-in for a secret. It is set in an environment, a label, arguments, an exec and a health check.
const canary = "hunter2-canary"

// recorder is a sink that keeps all transitions and gaps, and the records that would leave the node.
type recorder struct {
	mu      sync.Mutex
	trs     []container.Transition
	gaps    []container.Gap
	records bytes.Buffer
	logs    bytes.Buffer
}

func (s *recorder) Deliver(_ context.Context, items []observer.Item) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch := (&record.Encoder{HostName: "h"}).NewBatch()
	for i := range items {
		for j := range items[i].Transitions {
			batch.Append(&items[i].Transitions[j])
		}
		s.trs = append(s.trs, items[i].Transitions...)
		if g := items[i].Gap; g != nil {
			s.gaps = append(s.gaps, *g)
			batch.AppendGap(g, g.To)
		}
	}
	raw, err := (&plog.JSONMarshaler{}).MarshalLogs(batch.Logs())
	if err == nil {
		s.records.Write(raw)
	}
	return err
}

func (s *recorder) transitions(id string) []container.Transition {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []container.Transition
	for i := range s.trs {
		if s.trs[i].Container.ID == id {
			out = append(out, s.trs[i])
		}
	}
	return out
}

// kinds returns the kinds of a container's transitions in order, without later revisions.
func (s *recorder) kinds(id string) []string {
	out := []string{}
	for _, tr := range s.transitions(id) {
		if tr.Revision == 0 {
			out = append(out, tr.Kind.String())
		}
	}
	return out
}

// stops returns the reported stops of a container, each in its latest revision.
func (s *recorder) stops(id string) []container.Transition {
	var out []container.Transition
	for _, tr := range s.transitions(id) {
		switch {
		case tr.Kind != container.KindStopped:
		case tr.Revision > 0:
			out[len(out)-1] = tr
		default:
			out = append(out, tr)
		}
	}
	return out
}

// lastStop returns the latest stop of a container, which must have one.
func (s *recorder) lastStop(id string) container.Transition {
	stops := s.stops(id)
	return stops[len(stops)-1]
}

// last returns the latest transition of a container, which must have one.
func (s *recorder) last(id string) container.Transition {
	all := s.transitions(id)
	return all[len(all)-1]
}

// healths returns the reported results of a container's health check, in order.
func (l *lab) healths(id string) []string {
	out := []string{}
	for _, tr := range l.transitions(id) {
		if tr.Kind == container.KindHealthChanged {
			out = append(out, tr.Health)
		}
	}
	return out
}

// health returns the latest reported result of a container's health check, or "".
func (l *lab) health(id string) string {
	if all := l.healths(id); len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// The observer's telemetry and log.
func (s *recorder) Listed(time.Duration, error)     {}
func (s *recorder) InspectFailed()                  {}
func (s *recorder) Transitions(container.Kind, int) {}
func (s *recorder) Reconnected()                    {}
func (s *recorder) MailboxOverflowed()              {}
func (s *recorder) Coalesced(int)                   {}
func (s *recorder) Gap(string)                      {}
func (s *recorder) CheckpointFailed()               {}
func (s *recorder) Info(m string, f ...any)         { s.log(m, f) }
func (s *recorder) Warn(m string, f ...any)         { s.log(m, f) }
func (s *recorder) log(m string, f []any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(&s.logs, m, f)
}
