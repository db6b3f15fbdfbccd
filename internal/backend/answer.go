// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"net/http"
	"time"
)

const (
	// answerStep is how much of an answer is written under one deadline.
	answerStep = 64 << 10
	// answerTimeout bounds the writing of an answer as a whole: a client that reads a little now and then must not hold it.
	answerTimeout = time.Minute
)

// answerWriter notes the status of an answer, and writes with deadlines: a client that does not read ends its request.
type answerWriter struct {
	http.ResponseWriter

	rc      *http.ResponseController
	step    time.Duration // within which the client must read answerStep bytes
	until   time.Time     // for the whole answer; zero before it begins
	status  int
	endless bool // a stream, which sets its own deadlines
}

func newAnswerWriter(w http.ResponseWriter, step time.Duration) *answerWriter {
	return &answerWriter{ResponseWriter: w, rc: http.NewResponseController(w), step: step}
}

func (a *answerWriter) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.setDeadline()
	a.ResponseWriter.WriteHeader(status)
}

func (a *answerWriter) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if a.endless {
		return a.ResponseWriter.Write(p)
	}
	written := 0
	for {
		a.setDeadline()
		n, err := a.ResponseWriter.Write(p[:min(len(p), answerStep)])
		written += n
		if p = p[n:]; err != nil || len(p) == 0 {
			return written, err
		}
	}
}

func (a *answerWriter) setDeadline() {
	if a.endless {
		return
	}
	now := time.Now()
	if a.until.IsZero() {
		a.until = now.Add(answerTimeout)
	}
	deadline := now.Add(a.step)
	if deadline.After(a.until) {
		deadline = a.until
	}
	_ = a.rc.SetWriteDeadline(deadline) // not supported only where there is no connection
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answerWriter) Unwrap() http.ResponseWriter { return a.ResponseWriter }
