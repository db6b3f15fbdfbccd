// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package isolated

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/limit"
	"github.com/zastava-otel/zastava/internal/test/oracle"
)

// framed puts the length before a text.
func framed(text string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
}

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	var wire bytes.Buffer
	want := request{ID: 7, Target: evidence.Target{ContainerID: "a", PID: 12, Elsewhere: true}}
	require.NoError(t, writeFrame(&wire, want, maxRequestBytes))
	var got request
	require.NoError(t, readFrame(&wire, &got, maxRequestBytes))
	assert.Equal(t, want, got)
	assert.Zero(t, wire.Len())
}

func TestMessagesThatAreTooExpensiveAreRefused(t *testing.T) {
	var exceeded *limit.Error
	require.ErrorAs(t, writeFrame(&bytes.Buffer{}, request{Target: evidence.Target{ContainerID: strings.Repeat("a", 100)}}, 50), &exceeded)
	for name, wire := range map[string][]byte{
		"longer than allowed":           framed(strings.Repeat(" ", 101)),
		"deep":                          framed(strings.Repeat("[", 50)),
		"digits":                        framed(`{"id":` + strings.Repeat("9", 40) + `}`),
		"a length without the bytes":    {0, 0, 0, 50, '{'},
		"a length of everything":        {255, 255, 255, 255},
		"another type than the message": framed(`{"id":"x"}`),
		"not JSON":                      framed(`{`),
		"part of a length":              {0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var got request
			require.Error(t, readFrame(bytes.NewReader(wire), &got, 100))
		})
	}
}

func TestLengthThatIsAnnouncedIsNotAllocated(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var got reply
	require.Error(t, readFrame(bytes.NewReader([]byte{0, 255, 255, 255, '{'}), &got, maxReplyBytes))
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
}

func FuzzReply(f *testing.F) {
	f.Add(framed(`{"id":1,"sample":{"Files":[{"Path":"/a","SHA256":{"Status":"PRESENT","Value":"00"}}]},"stats":{"Samples":1}}`))
	f.Fuzz(func(t *testing.T, wire []byte) {
		oracle.Bound(t, oracle.Parsing(len(wire)))
		var got reply
		_ = readFrame(bytes.NewReader(wire), &got, 64<<10)
	})
}
