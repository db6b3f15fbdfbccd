// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"io"

	"github.com/zastava-otel/zastava/internal/limit"
)

// scanner passes JSON texts on while each of their objects is within its bounds. It cuts strings after maxString bytes instead of
// refusing them, because a label that an image brings along must not hide all containers of an engine; longer strings are of no use
// here. It needs no memory of its own, and leaves to the decoder whether the text is JSON.
type scanner struct {
	from   io.Reader
	bounds *bounds
	within int                     // the depth at which an object is bounded: 0 for an answer or a message, 1 for the elements of a list
	ended  func(bytes int64) error // after each text, with the number of bytes read of it; nil if an answer is one text

	depth   int
	items   int
	read    int64 // bytes of the present text
	passed  int64 // bytes of the present object that were passed on
	number  int   // characters of the present number
	literal stringState
	err     error
}

// stringState is the state of a scanner in a string.
type stringState struct {
	in      bool
	escaped bool // after a backslash
	hex     int  // digits that are to come of an escape \uXXXX
	length  int  // bytes that were passed on
	cut     bool // the rest is not passed on
}

// Read reads once from the source, and again while it has nothing to pass on.
func (s *scanner) Read(p []byte) (int, error) {
	for s.err == nil && len(p) > 0 {
		n, err := s.from.Read(p)
		kept, failed := s.scan(p[:n])
		if s.err = failed; s.err == nil {
			s.err = err
		}
		if kept > 0 {
			return kept, s.err
		}
	}
	return 0, s.err
}

// scan moves the bytes to pass on to the front of p and returns their number.
func (s *scanner) scan(p []byte) (kept int, err error) {
	counted, passed := 0, 0 // how far read and passed count p
	for i := 0; i < len(p); {
		if s.literal.in {
			i, kept = s.literal.scan(p, i, kept)
			continue
		}
		c := p[i]
		p[kept] = c
		i, kept = i+1, kept+1
		if err := s.structure(c); err != nil {
			return kept, err
		}
		if (c == '}' || c == ']') && s.depth <= s.within {
			s.read += int64(i - counted)
			counted, passed = i, kept
			if err := s.end(); err != nil {
				return kept, err
			}
		}
	}
	s.read += int64(len(p) - counted)
	s.passed += int64(kept - passed)
	switch {
	case s.read > s.bounds.bytes:
		return kept, &limit.Error{Kind: limit.Bytes, Max: s.bounds.bytes}
	case s.passed > s.bounds.object:
		return kept, &limit.Error{Kind: limit.Bytes, Max: s.bounds.object}
	default:
		return kept, nil
	}
}

// structure processes a byte outside strings.
func (s *scanner) structure(c byte) error {
	number := 0
	switch c {
	case '"':
		s.literal = stringState{in: true}
	case '{', '[':
		s.depth++
		s.items++
	case '}', ']':
		s.depth = max(s.depth-1, 0)
	case ',':
		s.items++
	case '-', '+', '.', 'e', 'E', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		number = s.number + 1
	}
	s.number = number
	switch {
	case s.items > maxItems:
		return &limit.Error{Kind: limit.Items, Max: maxItems}
	case s.depth > maxNesting:
		return &limit.Error{Kind: limit.Nesting, Max: maxNesting}
	case s.number > maxDigits:
		return &limit.Error{Kind: limit.Digits, Max: maxDigits}
	default:
		return nil
	}
}

// end begins the count of the next object, and of the next text.
func (s *scanner) end() error {
	s.items, s.passed = 0, 0
	if s.depth > 0 || s.ended == nil {
		return nil
	}
	read := s.read
	s.read = 0
	return s.ended(read)
}

// scan continues a string at p[i], moves what is passed on to p[kept:], and returns both indexes after it: at the end of the string,
// or of p.
func (l *stringState) scan(p []byte, i, kept int) (int, int) {
	for ; i < len(p) && l.in; i++ {
		c := p[i]
		switch {
		case l.escaped:
			l.escaped = false
			if c == 'u' {
				l.hex = 4
			}
		case l.hex > 0:
			l.hex--
		case c == '"':
			l.in = false
			p[kept] = c
			kept++
			continue
		default: // a character begins: only here can the string be cut
			l.cut = l.length >= maxString
			l.escaped = c == '\\'
		}
		if !l.cut {
			p[kept] = c
			kept++
			l.length++
		}
	}
	return i, kept
}
