// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"math"
	"strconv"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/container"
)

// The functions below decode a value whichever type a processor or a hop gave it, and treat an unusable value as absent.

var precisionWindow = container.PrecisionWindow.String()

func text(v pcommon.Value) string {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return v.Str()
	case pcommon.ValueTypeInt, pcommon.ValueTypeDouble, pcommon.ValueTypeBool:
		return v.AsString()
	default:
		return ""
	}
}

// name and prose return strings that fit the wire format, and "" for longer ones: absent means unknown, a cut string would be
// wrong, and an event without its reason is better than no event.
func name(v pcommon.Value) string  { return within(text(v), backendapi.MaxName) }
func prose(v pcommon.Value) string { return within(text(v), backendapi.MaxText) }

func within(s string, most int) string {
	if !backendapi.Fits(s, most) {
		return ""
	}
	return s
}

// first returns the first element of a list, or a value that is not a list.
func first(v pcommon.Value) string {
	if v.Type() != pcommon.ValueTypeSlice {
		return text(v)
	}
	if v.Slice().Len() == 0 {
		return ""
	}
	return text(v.Slice().At(0))
}

func integer(v pcommon.Value) (int64, bool) {
	switch v.Type() {
	case pcommon.ValueTypeInt:
		return v.Int(), true
	case pcommon.ValueTypeDouble:
		f := v.Double()
		// 2^53 is the last float64 up to which every integer is exact.
		if f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			return 0, false
		}
		return int64(f), true
	case pcommon.ValueTypeStr:
		n, err := strconv.ParseInt(v.Str(), 10, 64)
		return n, err == nil
	default:
		return 0, false
	}
}

// u32 decodes an unsigned 32-bit number. It accepts the signed spelling of the same bits as well (-1 for 4294967295).
func u32(v pcommon.Value) (uint32, bool) {
	n, ok := integer(v)
	if !ok || n < math.MinInt32 || n > math.MaxUint32 {
		return 0, false
	}
	return uint32(n), true
}

func u64(v pcommon.Value) (uint64, bool) {
	n, ok := integer(v)
	if !ok || n < 0 {
		return 0, false
	}
	return uint64(n), true
}

func u32Into(v pcommon.Value, dst *uint32) *uint32 {
	n, ok := u32(v)
	if !ok {
		return nil
	}
	*dst = n
	return dst
}

func truth(v pcommon.Value) bool {
	switch v.Type() {
	case pcommon.ValueTypeBool:
		return v.Bool()
	case pcommon.ValueTypeStr:
		b, err := strconv.ParseBool(v.Str())
		return err == nil && b
	default:
		return false
	}
}

func seconds(v pcommon.Value) float64 {
	var f float64
	switch v.Type() {
	case pcommon.ValueTypeDouble:
		f = v.Double()
	case pcommon.ValueTypeInt:
		f = float64(v.Int())
	case pcommon.ValueTypeStr:
		f, _ = strconv.ParseFloat(v.Str(), 64)
	default:
	}
	if f < 0 || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

// instant decodes RFC 3339, or a number of nanoseconds since 1970. It returns false for a time that no runtime can report.
func instant(v pcommon.Value) (time.Time, bool) {
	var at time.Time
	switch v.Type() {
	case pcommon.ValueTypeStr:
		parsed, err := time.Parse(time.RFC3339Nano, v.Str())
		if err != nil {
			return time.Time{}, false
		}
		at = parsed.UTC()
	case pcommon.ValueTypeInt:
		at = time.Unix(0, v.Int()).UTC()
	default:
	}
	if !backendapi.PlausibleTime(at) {
		return time.Time{}, false
	}
	return at, true
}

func timeInto(v pcommon.Value, dst *time.Time) *time.Time {
	at, ok := instant(v)
	if !ok {
		return nil
	}
	*dst = at
	return dst
}
