// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// judged is a test whose end the test decides.
type judged struct {
	testing.TB
	cleanups []func()
	faults   []string
}

func (*judged) Helper()            {}
func (j *judged) Cleanup(f func()) { j.cleanups = append(j.cleanups, f) }
func (j *judged) Error(args ...any) {
	j.faults = append(j.faults, args[0].(string))
}

func (j *judged) end() string {
	for _, f := range j.cleanups {
		f()
	}
	return strings.Join(j.faults, "\n")
}

var sink []byte

func TestInputsThatCostMoreThanAllowedFail(t *testing.T) {
	t.Run("bytes that are freed at once", func(t *testing.T) {
		j := &judged{TB: t}
		Bound(j, Cost{Bytes: 1 << 20, CPU: time.Hour})
		for range 64 {
			sink = make([]byte, 1<<20)
		}
		assert.Contains(t, j.end(), "more than 1048576")
	})
	t.Run("many small objects", func(t *testing.T) {
		j := &judged{TB: t}
		Bound(j, Cost{Bytes: 1 << 20, CPU: time.Hour})
		for range 64 << 10 {
			sink = make([]byte, 128)
		}
		assert.Contains(t, j.end(), "allocated")
	})
	t.Run("CPU time", func(t *testing.T) {
		if runtime.GOOS == "windows" {
			t.Skip("CPU time is not measured")
		}
		j := &judged{TB: t}
		Bound(j, Cost{Bytes: 1 << 40, CPU: 20 * time.Millisecond})
		for began := cpuTime(); cpuTime()-began < 50*time.Millisecond; {
			sink = append(sink[:0], 1)
		}
		assert.Contains(t, j.end(), "of CPU time, more than 20ms")
	})
}

func TestInputsWithinTheBoundPass(t *testing.T) {
	j := &judged{TB: t}
	Bound(j, Parsing(0))
	sink = make([]byte, 1<<20)
	require.Empty(t, j.end())
	assert.Greater(t, Parsing(1000).Bytes, Parsing(0).Bytes)
	assert.Greater(t, Parsing(1000).CPU, Parsing(0).CPU)
}
