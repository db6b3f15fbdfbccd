// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"fmt"
	"hash/maphash"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/runtime"
)

// List asks for all containers in all states. Sandboxes of Kubernetes pods are left out.
func (r *Runtime) List(ctx context.Context, dst []runtime.Summary) ([]runtime.Summary, error) {
	items, began, err := r.list(ctx, nil)
	if err != nil {
		if errdefs.IsInvalidArgument(err) { // perhaps an older engine than the one before, which refuses our API version
			_, _ = r.Info(ctx)
		}
		return dst, err
	}
	ended := time.Now()
	r.memory.mu.Lock()
	defer r.memory.mu.Unlock()
	for i := range items {
		if s, ok := r.summary(&items[i], began, ended); ok {
			dst = append(dst, s)
		}
	}
	r.memory.sweep(ended)
	return dst, nil
}

// Find summarizes one container.
func (r *Runtime) Find(ctx context.Context, id string) (runtime.Summary, error) {
	if !validID(id) {
		return runtime.Summary{}, fmt.Errorf("find a container at %s: its id is none: %w", r.endpoint, runtime.ErrNotFound)
	}
	items, began, err := r.list(ctx, make(client.Filters).Add("id", id))
	if err != nil {
		return runtime.Summary{}, err
	}
	ended := time.Now()
	r.memory.mu.Lock()
	defer r.memory.mu.Unlock()
	for i := range items {
		if items[i].ID != id {
			continue
		}
		if s, ok := r.summary(&items[i], began, ended); ok {
			return s, nil
		}
	}
	return runtime.Summary{}, fmt.Errorf("find container %s at %s: %w", id, r.endpoint, runtime.ErrNotFound)
}

func (r *Runtime) list(ctx context.Context, f client.Filters) ([]api.Summary, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	began := time.Now()
	answer, err := r.client.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: f})
	if err != nil {
		return nil, began, r.explain(err, "list all containers")
	}
	return answer.Items, began, nil
}

// summary makes a summary of a list item; false: it is no container of ours. The memory is locked.
func (r *Runtime) summary(item *api.Summary, began, ended time.Time) (runtime.Summary, bool) {
	if !validID(item.ID) {
		return runtime.Summary{}, false
	}
	k := r.memory.of(item.ID, ended)
	if k == nil {
		k = &remembered{}
	}
	if !k.shown && r.speaksCRI(item.Labels) {
		return runtime.Summary{}, false
	}
	k.shown = true
	k.hide(item.Labels, "")
	s := runtime.Summary{ID: item.ID, State: state(string(item.State)), Item: item}
	created := sane(time.Unix(item.Created, 0))
	if !created.IsZero() {
		s.CreatedAt = created.UnixNano()
	}
	if s.State == container.StateCreated && k.failed {
		s.State = container.StateExited // as the inspect found
	}
	if s.State == container.StateExited && k.unrun {
		s.State = container.StateCreated // likewise
	}
	text := parseStatus(item.Status)
	if item.Health != nil {
		text.health = string(item.Health.Status)
	}
	k.look(string(item.State), text, began, ended)

	var h maphash.Hash
	h.SetSeed(seed)
	put := func(part string) {
		_, _ = h.WriteString(part) // never fails
		_ = h.WriteByte(0)
	}
	put(string(item.State))
	put(text.health)
	put(text.exitCode)
	put(nameIn(item.Names))
	put(strconv.FormatUint(uint64(k.jumps), 10))
	if s.State == container.StateCreated {
		put(strconv.FormatInt(peek(ended.Sub(created)), 10))
	}
	s.Fingerprint = h.Sum64()
	return s, true
}

var seed = maphash.MakeSeed()

// peek numbers the looks that a container gets which was created and not started: a start that fails leaves it created in
// the list, and has no event. It is looked at ever more seldom in the first minute and once a minute then.
func peek(age time.Duration) int64 {
	seconds := int64(max(age, 0) / time.Second)
	if seconds < 64 {
		return int64(bits.Len64(uint64(seconds)))
	}
	return 64 + seconds/60
}

// nameIn picks the container's own name: others are those of legacy links, /other/alias.
func nameIn(names []string) string {
	for _, n := range names {
		if n = strings.TrimPrefix(n, "/"); n != "" && !strings.Contains(n, "/") {
			return n
		}
	}
	return ""
}
