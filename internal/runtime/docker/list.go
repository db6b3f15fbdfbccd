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

// List appends a summary of all containers in all states. Sandboxes of Kubernetes pods are omitted if CRI is observed.
func (r *Runtime) List(ctx context.Context, dst []runtime.Summary) ([]runtime.Summary, error) {
	items, began, err := r.list(ctx, nil)
	if err != nil {
		if errdefs.IsInvalidArgument(err) { // an older engine than before may refuse the negotiated API version
			_, _ = r.Info(ctx)
		}
		return dst, err
	}
	ended := time.Now()
	r.memory.mu.Lock()
	defer r.memory.mu.Unlock()
	invalid := 0
	for i := range items {
		if !validID(items[i].ID) {
			invalid++
		} else if s, ok := r.summary(&items[i], began, ended); ok {
			dst = append(dst, s)
		}
	}
	r.setAside(invalid)
	r.memory.sweep(ended)
	return dst, nil
}

// Find returns the summary of one container.
func (r *Runtime) Find(ctx context.Context, id string) (runtime.Summary, error) {
	if !validID(id) {
		return runtime.Summary{}, fmt.Errorf("find a container at %s: its id is not valid: %w", r.endpoint, runtime.ErrNotFound)
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
	response, err := r.client.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: f})
	if err != nil {
		return nil, began, r.explain(err, "list all containers")
	}
	return response.Items, began, nil
}

// summary converts a list item into a summary. It returns false if the item is omitted. Its id must be valid.
// The caller holds the memory's lock.
func (r *Runtime) summary(item *api.Summary, began, ended time.Time) (runtime.Summary, bool) {
	k := r.memory.of(item.ID, ended)
	if k == nil {
		k = &remembered{}
	}
	if !k.shown && r.belongsToCRI(item.Labels) {
		return runtime.Summary{}, false
	}
	k.shown = true
	k.noteHidden(item.Labels, "")
	s := runtime.Summary{ID: item.ID, State: state(string(item.State)), Item: item}
	created := plausible(time.Unix(item.Created, 0))
	if !created.IsZero() {
		s.CreatedAt = created.UnixNano()
	}
	if s.State == container.StateCreated && k.startFailed {
		s.State = container.StateExited // as the inspection showed
	}
	if s.State == container.StateExited && k.neverRan {
		s.State = container.StateCreated // as the inspection showed
	}
	text := parseStatus(item.Status)
	if item.Health != nil {
		text.health = string(item.Health.Status)
	}
	k.noteListed(string(item.State), text, began, ended)

	var recheck int64
	if s.State == container.StateCreated {
		recheck = recheckNumber(ended.Sub(created))
	}
	s.Fingerprint = fingerprint(item, text, k.restarts, recheck)
	return s, true
}

var seed = maphash.MakeSeed()

// fingerprint returns a hash of everything in a list item that needs an inspection when it changes.
func fingerprint(item *api.Summary, text statusText, restarts uint32, recheck int64) uint64 {
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
	put(strconv.FormatUint(uint64(restarts), 10))
	put(strconv.FormatInt(recheck, 10))
	return h.Sum64()
}

// recheckNumber counts the inspections of a container that was created and not started. They are necessary because a failed
// start leaves the container as created in lists and has no event. The intervals grow during the first minute; after it there
// is one inspection a minute.
func recheckNumber(age time.Duration) int64 {
	seconds := int64(max(age, 0) / time.Second)
	if seconds < 64 {
		return int64(bits.Len64(uint64(seconds)))
	}
	return 64 + seconds/60
}

// nameIn returns the container's own name. Other names are those of legacy links: /other/alias.
func nameIn(names []string) string {
	for _, n := range names {
		if n = strings.TrimPrefix(n, "/"); n != "" && !strings.Contains(n, "/") {
			return n
		}
	}
	return ""
}
