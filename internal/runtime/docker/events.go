// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/signal"
)

// overlap is how far a subscription reaches back before what is known to have been heard. The engine answers before it has
// subscribed, and events of that instant would be lost; it keeps its last 256 and replays those.
const overlap = time.Second

// oomAfterEnd is how much later than the end that it brought the engine may tell an OOM kill: the two come to it on different
// ways, some milliseconds apart. A busy machine is given a hundred times that.
const oomAfterEnd = time.Second

// actions are those that are asked for. The engine compares by prefix once health_status is among them.
var actions = []string{
	"create", "start", "die", "oom", "pause", "unpause", "kill", "destroy", "rename", "health_status",
}

// The attributes that are read besides the name and the image.
const (
	attributeExitCode       = "exitCode"
	attributePodmanExitCode = "containerExitCode" // and exitCode as well, where Podman says die for died
	attributeSignal         = "signal"
)

// attributeNames are the attributes that engines add to the labels, and what is called so is not told as a label.
var attributeNames = []string{
	"name", "image", attributeExitCode, attributePodmanExitCode, "execDuration", "execID", attributeSignal, "oldName", "podId", "health_status",
}

// Watch follows the engine's events of containers. What it posts:
//
//   - NoticeExited: ExitCode, the signal that was sent on request before it, and At, some milliseconds after the inspect's time;
//   - NoticeStarted: At is some milliseconds after the start that an inspect tells, which is what a run is identified by;
//   - NoticeHealth: the verdict; NoticeOOM: a process in the container was killed, which need not be the main one;
//   - NoticePaused, NoticeResumed, NoticeCreated, NoticeDeleted; NoticeChanged for a rename.
//
// All carry what the event tells of the container, for one that is gone before it can be looked at. After a reconnect the
// subscription reaches back to what was heard last, and what was heard already is left out. The engine replays 256 events at
// most and says nothing of what it skipped: a list must follow. A reader that does not keep up costs the engine 100 ms an
// event, so post must not block.
func (r *Runtime) Watch(ctx context.Context, ready func(), post func(runtime.Notice)) error {
	ctx, cancel := context.WithCancel(ctx)
	since, subscribed := r.replay.since(time.Now())
	agreed := r.streams.Load()
	filters := make(client.Filters).Add("type", "container")
	if !r.memory.whoAnswers().podman { // which has other words for some, and knows no prefixes
		filters.Add("event", actions...)
	}
	stream := r.client.Events(ctx, client.EventsListOptions{Since: since.UTC().Format(time.RFC3339Nano), Filters: filters})
	defer func() {
		cancel()
		for range stream.Err { // closed when the client's own goroutine has ended
		}
	}()
	if r.streams.Load() == agreed {
		return r.ended(ctx, <-stream.Err)
	}
	ready()
	for {
		select {
		case m := <-stream.Messages:
			r.take(&m, subscribed, post)
		case err := <-stream.Err:
			return r.ended(ctx, err)
		}
	}
}

func (r *Runtime) ended(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return nil //nolint:nilerr // the end that was asked for
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("follow the events of %s: the engine ended the stream; it is restarting, perhaps", r.endpoint)
	case isRefused(err):
		return fmt.Errorf("%w: %w", runtime.ErrNoStream, r.explain(err, "follow the events"))
	default:
		return r.explain(err, "follow the events")
	}
}

// take posts the notice of one message. Nothing of the message is kept but what notice reads. What happened before subscribed
// is a replay.
func (r *Runtime) take(m *events.Message, subscribed time.Time, post func(runtime.Notice)) {
	action, rest, _ := strings.Cut(string(m.Action), ":") // an exec's command line and a health check's output come after it
	if !r.replay.fresh(m.TimeNano, m.Actor.ID, action) {
		return
	}
	who := r.memory.whoAnswers()
	n, ok := notice(action, strings.TrimSpace(rest), m, who.podman)
	if !ok || (r.speaksCRI(m.Actor.Attributes) && !r.memory.hasShown(n.ID)) {
		return
	}
	r.memory.do(n.ID, func(k *remembered) {
		if !who.podman {
			k.hide(m.Actor.Attributes, action)
		}
		if n.Kind == runtime.NoticeExited && !who.podman && k.hides.exitCode {
			n.Kind, n.ExitCode = runtime.NoticeChanged, 0
		}
		switch {
		case action == "kill" && (who.podman || k.hides.signal):
			k.signal, k.signaled = 0, time.Time{} // it does not tell which; what is called signal there is a label
		case action == "kill":
			k.signal, k.signaled = signal.Number(who.host.OS, who.host.Arch, m.Actor.Attributes[attributeSignal]), n.At
		case n.Kind == runtime.NoticeOOM:
			k.oom = n.At
			n.OOMKilled = k.killed.Add(oomAfterEnd).After(n.At)
		case n.Kind == runtime.NoticeExited:
			n.StopSignal = k.stopSignal(who.host, n.At, n.ExitCode, time.Time{})
			if n.ExitCode == killedByKernel && n.StopSignal != "SIGKILL" {
				k.killed, n.OOMKilled = n.At, !k.oom.IsZero() // as the engine's own verdict
			}
		case n.Kind == runtime.NoticeStarted:
			k.signal, k.signaled, k.oom, k.killed = 0, time.Time{}, time.Time{}, time.Time{}
		}
	})
	if action != "kill" {
		n.Replayed = n.At.Before(subscribed)
		n.Described = r.told(m.Actor.Attributes)
		post(n)
	}
}

// notice reads a message. False: it is nothing that an observer needs to know. Its attributes hold the container's labels too.
// Docker sets the name and the image after the labels, and the rest before them: see hidden.
func notice(action, rest string, m *events.Message, podman bool) (runtime.Notice, bool) {
	if (m.Type != "" && m.Type != events.ContainerEventType) || !validID(m.Actor.ID) {
		return runtime.Notice{}, false
	}
	n := runtime.Notice{ID: m.Actor.ID, At: timeOf(m)}
	switch action {
	case "create":
		n.Kind = runtime.NoticeCreated
	case "start":
		n.Kind = runtime.NoticeStarted
	case "die", "died":
		code, ok := exitCode(m.Actor.Attributes, podman)
		n.Kind, n.ExitCode = runtime.NoticeExited, code
		if !ok || n.At.IsZero() {
			n.Kind = runtime.NoticeChanged
		}
	case "oom":
		n.Kind = runtime.NoticeOOM
	case "pause":
		n.Kind = runtime.NoticePaused
	case "unpause":
		n.Kind = runtime.NoticeResumed
	case "destroy", "remove":
		n.Kind = runtime.NoticeDeleted
	case "health_status":
		n.Kind, n.Health = runtime.NoticeHealth, verdict(rest)
		if n.Health == "" {
			n.Kind = runtime.NoticeChanged
		}
	case "kill", "rename", "restart": // restart: how Podman tells one by policy
		n.Kind = runtime.NoticeChanged
	default:
		return runtime.Notice{}, false
	}
	return n, true
}

// told reads what an event's attributes tell of its container: the name, the image as asked for, and of the labels what the
// allow-list lets through, as from a list. Nil: not even a name.
func (r *Runtime) told(attributes map[string]string) *container.Container {
	name := attributes["name"]
	if name == "" {
		return nil
	}
	c := &container.Container{Name: intern(name)}
	if image := attributes["image"]; digest(image) == "" {
		c.Image.Reference = intern(image)
	}
	r.readLabels(c, attributes)
	for k := range c.Labels {
		if slices.Contains(attributeNames, k) {
			delete(c.Labels, k)
		}
	}
	if len(c.Labels) == 0 {
		c.Labels = nil
	}
	return c
}

func exitCode(attributes map[string]string, podman bool) (uint32, bool) {
	s := attributes[attributeExitCode]
	if own, ok := attributes[attributePodmanExitCode]; ok && podman {
		s = own
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < -1<<31 || n > 1<<32-1 {
		return 0, false
	}
	return uint32(n), true
}

func timeOf(m *events.Message) time.Time {
	if m.TimeNano > 0 {
		return sane(time.Unix(0, m.TimeNano))
	}
	return sane(time.Unix(m.Time, 0))
}
