// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// maxCacheBytes bounds the memory of the cache besides its number of entries: a binary may list thousands of Go modules.
const maxCacheBytes = 32 << 20

// contentKey is which file in which state. The device and inode are those of the file that is read, which for a file of an overlay
// are the overlay's own: each container has an overlay of its own, and the layers they share are the same files below.
type contentKey struct {
	device, inode uint64
	handle        string // of the file below an overlay, instead of the device, where the kernel gives one
	mtime, ctime  int64  // ns
	size          int64
}

// contents remembers what files hold, for all containers together: least recently used first out.
type contents struct {
	mu   sync.Mutex
	lru  *simplelru.LRU[contentKey, *content]
	cost int
	hits uint64
	// aliases are the keys of files below overlays by their keys in each container, so that the kernel need not be asked again. They
	// have a place of their own, as there may be many for one file.
	aliases *simplelru.LRU[contentKey, contentKey]
}

func newContents(entries int) (*contents, error) {
	c := &contents{}
	var err error
	if c.lru, err = simplelru.NewLRU(entries, func(_ contentKey, evicted *content) { c.cost -= evicted.cost() }); err != nil {
		return nil, err
	}
	c.aliases, err = simplelru.NewLRU[contentKey, contentKey](4*entries, nil)
	return c, err
}

func (c *contents) get(key contentKey) (*content, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.lru.Get(key)
	if shared, aliased := c.aliases.Get(key); !ok && aliased {
		found, ok = c.lru.Get(shared)
	}
	if ok {
		c.hits++
	}
	return found, ok
}

func (c *contents) add(key contentKey, found *content) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lru.Remove(key) // through the callback that takes its cost off
	c.lru.Add(key, found)
	c.cost += found.cost()
	for c.cost > maxCacheBytes && c.lru.Len() > 1 {
		c.lru.RemoveOldest()
	}
}

// alias remembers another key of what has a shared one.
func (c *contents) alias(key, shared contentKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aliases.Add(key, shared)
}

func (c *contents) stats() (hits uint64, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hits, c.lru.Len()
}
