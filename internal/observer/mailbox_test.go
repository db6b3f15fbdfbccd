// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/zastava-otel/zastava/internal/runtime"
)

func TestMailboxDropsNoticesWhenFull(t *testing.T) {
	spilled := 0
	m := newMailbox(2, func() { spilled++ })
	for range 100 {
		m.post(runtime.Notice{ID: "a", Kind: runtime.NoticeOOM})
	}
	m.post(runtime.Notice{ID: "a", Kind: runtime.NoticeExited, ExitCode: 1})
	m.post(runtime.Notice{ID: "a", Kind: runtime.NoticeStarted})
	m.post(runtime.Notice{ID: "a", Kind: runtime.NoticeExited, ExitCode: 2})
	m.post(runtime.Notice{ID: "b", Kind: runtime.NoticeCreated})
	m.post(runtime.Notice{ID: "c", Kind: runtime.NoticeCreated})
	notices, overflowed := m.empty()
	assert.True(t, overflowed)
	assert.Equal(t, 1, spilled)
	var kinds []runtime.NoticeKind
	for _, n := range notices {
		kinds = append(kinds, n.Kind)
	}
	assert.Equal(t, []runtime.NoticeKind{runtime.NoticeOOM, runtime.NoticeExited, runtime.NoticeStarted, runtime.NoticeExited, runtime.NoticeCreated}, kinds,
		"repeats coalesce; the ends of two runs are both kept")
	_, overflowed = m.empty()
	assert.False(t, overflowed)
}
