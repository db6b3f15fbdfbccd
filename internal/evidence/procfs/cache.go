// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/evidence/buildid"
)

// maxCacheBytes limits the memory of the cache in addition to its entries: a binary may list thousands of Go modules.
const maxCacheBytes = 32 << 20

// contentKey identifies a file and its state. For a file of an overlay, device and inode are the overlay's: each container has its own
// overlay, and the layers that they share are the same files below.
type contentKey struct {
	device, inode uint64
	handle        string // of the file below an overlay, instead of the device, where the kernel returns one
	mtime, ctime  int64  // ns
	size          int64
}

// content is what a file holds.
type content struct {
	sha256 evidence.Datum[string]
	buildid.Metadata
}

// cost estimates the memory of a content in bytes.
func (c *content) cost() int {
	n := 512
	for _, m := range c.Go.Value.Modules {
		n += 64 + len(m.Path) + len(m.Version)
	}
	return n
}

// unreadable returns the content of a file that could not be read.
func unreadable(reason evidence.Reason) content {
	return content{sha256: evidence.Unknown[string](reason), Metadata: buildid.Unknown(reason)}
}

// bounded remembers values up to a number and up to an amount of memory; it evicts the least recently used one.
type bounded[K comparable, V interface{ cost() int }] struct {
	lru       *simplelru.LRU[K, V]
	cost, max int // bytes
}

func newBounded[K comparable, V interface{ cost() int }](entries, bytes int) (*bounded[K, V], error) {
	b := &bounded[K, V]{max: bytes}
	var err error
	b.lru, err = simplelru.NewLRU(entries, func(_ K, evicted V) { b.cost -= evicted.cost() })
	return b, err
}

func (b *bounded[K, V]) get(key K) (V, bool) { return b.lru.Get(key) }

func (b *bounded[K, V]) put(key K, value V) {
	b.lru.Remove(key) // its callback subtracts the cost
	b.lru.Add(key, value)
	b.cost += value.cost()
	for b.cost > b.max && b.lru.Len() > 1 {
		b.lru.RemoveOldest()
	}
}

// contents remembers what files hold, for all containers together.
type contents struct {
	mu    sync.Mutex
	known *bounded[contentKey, *content]
	hits  uint64
	// entries is how many files and aliases are remembered together.
	entries int
	// aliases are the keys of files below overlays by their keys in each container, which saves a system call. They are apart from known,
	// as one file may have many.
	aliases *simplelru.LRU[contentKey, contentKey]
}

func newContents(entries int) (*contents, error) {
	c := &contents{entries: 5 * entries}
	var err error
	if c.known, err = newBounded[contentKey, *content](entries, maxCacheBytes); err != nil {
		return nil, err
	}
	c.aliases, err = simplelru.NewLRU[contentKey, contentKey](4*entries, nil)
	return c, err
}

func (c *contents) get(key contentKey) (*content, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.known.get(key)
	if shared, aliased := c.aliases.Get(key); !ok && aliased {
		found, ok = c.known.get(shared)
	}
	if ok {
		c.hits++
	}
	return found, ok
}

func (c *contents) add(key contentKey, found *content) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known.put(key, found)
}

// alias remembers another key of the file with the shared key.
func (c *contents) alias(key, shared contentKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aliases.Add(key, shared)
}

func (c *contents) stats() (hits uint64, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hits, c.known.lru.Len()
}
