// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/evidence/buildid"
)

func TestContentsAreBounded(t *testing.T) {
	c, err := newContents(1000)
	require.NoError(t, err)
	for i := range 2000 {
		c.add(contentKey{inode: uint64(i)}, &content{sha256: evidence.Present("x")})
	}
	_, size := c.stats()
	assert.Equal(t, 1000, size)
	_, ok := c.get(contentKey{inode: 999})
	assert.False(t, ok, "the oldest went")
	_, ok = c.get(contentKey{inode: 1000})
	assert.True(t, ok)

	large := &content{Metadata: buildid.Metadata{Go: evidence.Present(evidence.GoBuild{Modules: make([]evidence.GoModule, 2048)})}}
	for i := range large.Go.Value.Modules {
		large.Go.Value.Modules[i].Path = strings.Repeat("x", evidence.MaxTextBytes)
	}
	for i := range 1000 {
		c.add(contentKey{inode: uint64(i), handle: "large"}, large)
	}
	_, size = c.stats()
	assert.Less(t, size, 100)
	assert.LessOrEqual(t, c.known.cost, maxCacheBytes)
	c.add(contentKey{inode: 1, handle: "large"}, &content{})
	c.add(contentKey{inode: 1, handle: "large"}, &content{})
	assert.GreaterOrEqual(t, c.known.cost, 0)
}

func TestContentsAreFoundByAlias(t *testing.T) {
	c, err := newContents(2)
	require.NoError(t, err)
	shared, here := contentKey{handle: "h"}, contentKey{device: 7}
	c.alias(here, shared)
	_, ok := c.get(here)
	assert.False(t, ok)
	known := &content{sha256: evidence.Present("x")}
	c.add(shared, known)
	found, ok := c.get(here)
	assert.True(t, ok)
	assert.Same(t, known, found)
	c.add(contentKey{device: 1}, &content{})
	c.add(contentKey{device: 2}, &content{})
	_, ok = c.get(here)
	assert.False(t, ok, "an alias keeps nothing")
	hits, _ := c.stats()
	assert.Equal(t, uint64(1), hits)
}
