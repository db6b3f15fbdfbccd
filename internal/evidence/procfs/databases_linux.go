// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/zastava-otel/zastava/internal/evidence/packagedb"
)

const (
	// refusedFor is how long a package database is not searched again after a search of it reached a limit: it costs as much each time.
	refusedFor = time.Hour
	maxRefused = 1_024
)

// databases remembers the package databases whose search reached a limit.
type databases struct {
	mu      sync.Mutex
	refused *simplelru.LRU[contentKey, time.Time] // until when
}

func newDatabases() (*databases, error) {
	refused, err := simplelru.NewLRU[contentKey, time.Time](maxRefused, nil)
	return &databases{refused: refused}, err
}

func (d *databases) refuse(key contentKey, until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused.Add(key, until)
}

func (d *databases) isRefused(key contentKey, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	until, ok := d.refused.Get(key)
	return ok && now.Before(until)
}

// known stops the search if one of the same database reached a limit before. The first file or directory that is opened stands for the
// database: by the file below an overlay, so that the containers of an image have one, and without its times, so that a container cannot have
// it searched again by touching it.
func (r containerRoot) known(first located) error {
	if *r.key != (contentKey{}) {
		return nil
	}
	key, _ := first.sharedKey(r.in.imageUntil())
	key.mtime, key.ctime, key.size = 0, 0, 0
	*r.key = key
	if r.in.sampler.packages.isRefused(key, time.Now()) {
		return packagedb.ErrStopped
	}
	return nil
}

// remember has the database refused from now on if the search reached a limit, or took most of the time of the sample alone.
func (r containerRoot) remember(err error) {
	half := r.in.sampler.config.Limits.Time / 2
	if *r.key != (contentKey{}) && (isLimit(err) || (errors.Is(err, packagedb.ErrStopped) && time.Since(r.began) > half)) {
		r.in.sampler.packages.refuse(*r.key, time.Now().Add(refusedFor))
	}
}
