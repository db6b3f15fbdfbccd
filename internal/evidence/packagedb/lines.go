// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package packagedb

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/zastava-otel/zastava/internal/limit"
)

// maxLine is the longest line that is read, in bytes; a longer one is passed over. A path has at most 4,096.
const maxLine = 32 << 10

// lineReader reads texts line by line. It holds no more than one line.
type lineReader struct{ buffer *bufio.Reader }

// eachLine passes the lines of a text without their ends until take returns false. A line is valid until take returns.
func (l *lineReader) eachLine(budget *limit.Budget, text io.Reader, take func(line []byte) (more bool)) error {
	if l.buffer == nil {
		l.buffer = bufio.NewReaderSize(nil, maxLine)
	}
	l.buffer.Reset(budget.Reader(text))
	for tooLong := false; ; {
		line, err := l.buffer.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			tooLong = true
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(line) > 0 && !tooLong {
			if err := budget.Item(1); err != nil {
				return err
			}
			if !take(bytes.TrimRight(line, "\r\n")) {
				return nil
			}
		}
		if err != nil {
			return nil //nolint:nilerr // the end
		}
		tooLong = false
	}
}

// eachLineOf passes the lines of a file of at most maximum bytes.
func (s *search) eachLineOf(name string, maximum int64, take func(line []byte) (more bool)) error {
	file, err := s.root.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // nothing was written
	if file.Size() > maximum {
		return &limit.Error{Kind: limit.Bytes, Max: maximum}
	}
	return s.text.eachLine(s.budget, io.NewSectionReader(file, 0, file.Size()), take)
}
