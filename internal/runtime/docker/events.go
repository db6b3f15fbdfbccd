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

// overlap is how much earlier than the latest received event a subscription begins. The engine responds before it has
// subscribed, and would otherwise lose the events of that moment; it keeps the last 256 events and replays them.
const overlap = time.Second

// oomAfterEnd is how much later than the exit the engine may report the OOM kill that caused it. Both reach the engine
// independently, some milliseconds apart. The limit is about a hundred times that, for a busy machine.
const oomAfterEnd = time.Second

// actionKill is a signal that was sent on request. It is recorded and not posted.
const actionKill = "kill"

// actions are the actions of the subscription. The engine compares prefixes because health_status is one of them.
var actions = []string{
	"create", "start", "die", "oom", "pause", "unpause", actionKill, "destroy", "rename", "health_status",
}

// The attributes that are used, in addition to name and image.
const (
	attributeExitCode       = "exitCode"
	attributePodmanExitCode = "containerExitCode" // if Podman says die for died, it sets exitCode, too
	attributeSignal         = "signal"
)

// attributeNames are the attributes that engines add to the labels. An attribute with such a name does not count as a label.
var attributeNames = []string{
	"name", "image", attributeExitCode, attributePodmanExitCode, "execDuration", "execID", attributeSignal, "oldName", "podId", "health_status",
}

// Watch follows the engine's events of containers and posts these notices:
//
//   - NoticeExited: ExitCode, the signal that was requested before it, and At, some milliseconds after the finish time of an
//     inspection;
//   - NoticeStarted: At is some milliseconds after the start time of an inspection, which identifies the run;
//   - NoticeHealth: the new health; NoticeOOM: a process in the container was killed, not necessarily the main one;
//   - NoticePaused, NoticeResumed, NoticeCreated, NoticeDeleted; NoticeChanged for a rename.
//
// All notices describe the container, in case it is removed before it can be inspected. After a reconnect the subscription
// begins with the latest event received before, and events that were already received are omitted. The engine replays at most
// 256 events and does not report which it skipped, so a list must follow. A reader that does not keep up delays the engine by
// 100 ms for each event, so post must not block.
func (r *Runtime) Watch(ctx context.Context, ready func(), post func(runtime.Notice)) error {
	ctx, cancel := context.WithCancel(ctx)
	since, subscribed := r.replay.since(time.Now())
	accepted := r.streams.Load()
	filters := make(client.Filters).Add("type", "container")
	if !r.memory.currentPeer().podman { // Podman uses other words for some actions, and does not compare prefixes
		filters.Add("event", actions...)
	}
	stream := r.client.Events(ctx, client.EventsListOptions{Since: since.UTC().Format(time.RFC3339Nano), Filters: filters})
	defer func() {
		cancel()
		for range stream.Err { // closed when the client's goroutine has ended
		}
	}()
	if r.streams.Load() == accepted {
		return r.streamError(ctx, <-stream.Err)
	}
	ready()
	for {
		select {
		case m := <-stream.Messages:
			r.process(&m, subscribed, post)
		case err := <-stream.Err:
			return r.streamError(ctx, err)
		}
	}
}

// streamError returns the error for a stream that ended with err, or nil if ctx ended.
func (r *Runtime) streamError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return nil //nolint:nilerr // the caller ended the stream
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("follow the events of %s: the engine ended the stream; it may be restarting", r.endpoint)
	case isRefused(err):
		return fmt.Errorf("%w: %w", runtime.ErrNoStream, r.explain(err, "follow the events"))
	default:
		return r.explain(err, "follow the events")
	}
}

// process posts the notice of one message. It keeps only what notice reads. An event from before subscribed is a replay.
func (r *Runtime) process(m *events.Message, subscribed time.Time, post func(runtime.Notice)) {
	// After the colon come an exec's command line and a health check's output.
	action, detail, _ := strings.Cut(string(m.Action), ":")
	if _, known := noticeKinds[action]; known && ofContainer(m) && !validID(m.Actor.ID) {
		r.setAside(1)
		return
	}
	if !r.replay.isNew(m.TimeNano, m.Actor.ID, action) {
		return
	}
	from := r.memory.currentPeer()
	n, ok := notice(action, strings.TrimSpace(detail), m, from.podman)
	if !ok || (r.belongsToCRI(m.Actor.Attributes) && !r.memory.hasShown(n.ID)) {
		return
	}
	r.memory.update(n.ID, func(k *remembered) { k.apply(action, m.Actor.Attributes, &n, from) })
	if action == actionKill {
		return
	}
	n.Replayed = n.At.Before(subscribed)
	n.Described = r.describeEvent(m.Actor.Attributes)
	post(n)
}

// apply records what later events and inspections need to know of an event, and completes n by what earlier ones recorded.
func (k *remembered) apply(action string, attributes map[string]string, n *runtime.Notice, from peer) {
	if !from.podman {
		k.noteHidden(attributes, action)
	}
	if n.Kind == runtime.NoticeExited && !from.podman && k.hides.exitCode {
		n.Kind, n.ExitCode = runtime.NoticeChanged, 0
	}
	switch {
	case action == actionKill && (from.podman || k.hides.signal):
		k.signal, k.signaled = 0, time.Time{} // the attribute called signal is a label, or missing
	case action == actionKill:
		k.signal, k.signaled = signal.Number(from.platform.OS, from.platform.Arch, attributes[attributeSignal]), n.At
	case n.Kind == runtime.NoticeOOM:
		k.oom = n.At
		n.OOMKilled = k.killed.Add(oomAfterEnd).After(n.At)
	case n.Kind == runtime.NoticeExited:
		n.StopSignal = k.stopSignal(from.platform, n.At, n.ExitCode, time.Time{})
		if n.ExitCode == killedByKernel && n.StopSignal != "SIGKILL" {
			k.killed, n.OOMKilled = n.At, !k.oom.IsZero() // the same rule as the engine's
		}
	case n.Kind == runtime.NoticeStarted:
		k.signal, k.signaled, k.oom, k.killed = 0, time.Time{}, time.Time{}, time.Time{}
	}
}

// noticeKinds has the kind of each action. Docker says die and destroy where Podman says died and remove. Podman's restart is
// a restart by policy.
var noticeKinds = map[string]runtime.NoticeKind{
	"create":        runtime.NoticeCreated,
	"start":         runtime.NoticeStarted,
	"die":           runtime.NoticeExited,
	"died":          runtime.NoticeExited,
	"oom":           runtime.NoticeOOM,
	"pause":         runtime.NoticePaused,
	"unpause":       runtime.NoticeResumed,
	"destroy":       runtime.NoticeDeleted,
	"remove":        runtime.NoticeDeleted,
	"health_status": runtime.NoticeHealth,
	actionKill:      runtime.NoticeChanged,
	"rename":        runtime.NoticeChanged,
	"restart":       runtime.NoticeChanged,
}

// notice converts a message; detail is what follows the action in it. It returns false if the observer does not need the
// event. The attributes of a message include the container's labels: Docker sets the name and the image after the labels, and
// the rest before them (see hidden).
func notice(action, detail string, m *events.Message, podman bool) (runtime.Notice, bool) {
	kind, ok := noticeKinds[action]
	if !ok || !ofContainer(m) || !validID(m.Actor.ID) {
		return runtime.Notice{}, false
	}
	n := runtime.Notice{ID: m.Actor.ID, Kind: kind, At: timeOf(m)}
	switch kind {
	case runtime.NoticeExited:
		n.ExitCode, ok = exitCode(m.Actor.Attributes, podman)
		ok = ok && !n.At.IsZero()
	case runtime.NoticeHealth:
		n.Health = knownHealth(detail)
		ok = n.Health != ""
	default:
	}
	if !ok {
		n.Kind = runtime.NoticeChanged // what the kind needs is missing
	}
	return n, true
}

func ofContainer(m *events.Message) bool { return m.Type == "" || m.Type == events.ContainerEventType }

// describeEvent returns the container as an event's attributes describe it: its name, its image reference and its allowed
// labels, as in a list. It returns nil if there is no name.
func (r *Runtime) describeEvent(attributes map[string]string) *container.Container {
	name := attributes["name"]
	if name == "" {
		return nil
	}
	c := &container.Container{Name: runtime.Intern(name)}
	if image := attributes["image"]; runtime.Digest(image) == "" {
		c.Image.Reference = runtime.Intern(image)
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

// exitCode returns the exit code of an exit event, and false if it has no valid one.
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

// timeOf returns the time of an event, or the zero time if it is not plausible.
func timeOf(m *events.Message) time.Time {
	if m.TimeNano > 0 {
		return plausible(time.Unix(0, m.TimeNano))
	}
	return plausible(time.Unix(m.Time, 0))
}
