// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/zastava-otel/zastava/internal/backend/problem"
	"github.com/zastava-otel/zastava/internal/limit"
)

// Bounds of JSON text. A body within its limit in bytes may still cost seconds: the schema validator turns each number into a big
// rational, and makes an error for each faulty value.
const (
	// MaxDigits bounds the characters of a number. A double needs 24, an integer of 64 bits 20.
	MaxDigits = 32
	// maxNesting bounds arrays and objects inside one another; a valid batch has 6.
	maxNesting = 32
	// bytesPerValue is the least that a value of an honest body takes on average, with its name; the shortest label takes 8.
	bytesPerValue = 8
	leastValues   = 1 << 14 // that any body may have
	// maxEventValues bounds the values of one event. The largest that the receiver sends has some 5,000: 1,024 files.
	maxEventValues = 1 << 14
	// maxFactValues bounds the values of one fact. The largest valid one has 150: 64 entries of metadata.
	maxFactValues = 1 << 10
)

// bounds returns the bounds of a body of at most maximum bytes.
func bounds(maximum int64) limit.JSON {
	return limit.JSON{Nesting: maxNesting, Items: int(max(leastValues, maximum/bytesPerValue)), Digits: MaxDigits}
}

func boundsOf(values int) limit.JSON {
	return limit.JSON{Nesting: maxNesting, Items: values, Digits: MaxDigits}
}

// exceeded returns the detail of a refusal, and its reason for metrics.
func exceeded(err error) (detail string, reason problem.Reason) {
	var over *limit.Error
	if !errors.As(err, &over) {
		return err.Error(), problem.Invalid // not reached: CheckJSON returns no other error
	}
	switch over.Kind {
	case limit.Digits:
		return fmt.Sprintf("has a number of more than %d characters", over.Max), problem.Number
	case limit.Exponent:
		return fmt.Sprintf("has a number whose exponent is beyond %d, which no double has", over.Max), problem.Number
	case limit.Nesting:
		return fmt.Sprintf("has more than %d arrays and objects inside one another", over.Max), problem.Nesting
	default:
		return fmt.Sprintf("has more than %d values", over.Max), problem.Values
	}
}

// checkBounds refuses a batch whose text exceeds the bounds, and names the event where that can be found.
func (r *Reader) checkBounds(body []byte) *problem.Details {
	err := limit.CheckJSON(body, bounds(r.limits.Bytes))
	if err == nil {
		return nil
	}
	detail, reason := exceeded(err)
	field := "body"
	if reason == problem.Number {
		// The text is scanned again for the event; that costs as much as a valid batch.
		if p := checkSyntax(body); p != nil {
			return p
		}
		var in rawBatch
		if json.Unmarshal(body, &in) == nil {
			for i := range in.Events {
				if limit.CheckJSON(in.Events[i], bounds(r.limits.Bytes)) != nil {
					field = "events[" + strconv.Itoa(i) + "]"
					break
				}
			}
		}
	}
	p := problem.New(http.StatusUnprocessableEntity, "invalid-batch", "The batch is not valid",
		"its JSON exceeds a limit of docs/reference-backend.md: it %s", detail)
	return p.Because(reason).With(field, detail)
}

// rawBatch is a batch whose events are not decoded.
type rawBatch struct {
	BatchID string            `json:"batchId"`
	Events  []json.RawMessage `json:"events"`
}
