// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"bytes"
	"encoding/json"
	"io"

	api "github.com/moby/moby/api/types/container"

	"github.com/zastava-otel/zastava/internal/limit"
)

// listReader reads an engine's list of containers one by one and passes on only what this package reads of each. The client decodes a
// list as a whole: of a list of any size, that then needs little memory, and no command line or secret label gets that far.
type listReader struct {
	decoder    *json.Decoder
	containers int // that may follow
	bounds     limit.Error
	keep       func(label string) bool

	began bool
	done  bool
	raw   json.RawMessage // reused
	out   bytes.Buffer
}

// newListReader returns a reader that fails with a *limit.Error after a number of containers. keep selects the labels.
func newListReader(from io.Reader, containers int, keep func(label string) bool) *listReader {
	return &listReader{decoder: json.NewDecoder(from), containers: containers, bounds: limit.Error{Kind: kindContainers, Max: int64(containers)}, keep: keep}
}

// listed is what is read of one container in a list, in the names of the API.
type listed struct {
	ID                      string `json:"Id"`
	Names                   []string
	Image                   string
	ImageID                 string
	ImageManifestDescriptor *listedDigest `json:",omitempty"`
	Created                 int64
	Labels                  map[string]string
	State                   api.ContainerState
	Status                  string
	Health                  *listedHealth `json:",omitempty"`
}

type listedDigest struct {
	Digest string `json:"digest"`
}

type listedHealth struct{ Status string }

// Read decodes containers until there is something to pass on.
func (l *listReader) Read(p []byte) (int, error) {
	for l.out.Len() == 0 {
		if l.done {
			return 0, io.EOF
		}
		if err := l.next(); err != nil {
			return 0, err
		}
	}
	return l.out.Read(p)
}

// next writes the beginning of the list, one container or the end.
func (l *listReader) next() error {
	l.out.Reset()
	switch {
	case !l.began:
		return l.begin()
	case !l.decoder.More():
		if _, err := l.decoder.Token(); err != nil {
			return unexpected(err)
		}
		l.done = true
		l.out.WriteByte(']')
		return nil
	}
	first := l.containers == int(l.bounds.Max)
	if l.containers--; l.containers < 0 {
		return &l.bounds
	}
	if err := l.decoder.Decode(&l.raw); err != nil {
		return unexpected(err)
	}
	var c listed
	if err := json.Unmarshal(l.raw, &c); err != nil {
		return err
	}
	for key := range c.Labels {
		if !l.keep(key) {
			delete(c.Labels, key)
		}
	}
	text, err := json.Marshal(&c)
	if err != nil {
		return err
	}
	if !first {
		l.out.WriteByte(',')
	}
	l.out.Write(text)
	return nil
}

// begin reads the beginning of a list. What is no list is passed on for the client to refuse.
func (l *listReader) begin() error {
	l.began = true
	open, err := l.decoder.Token()
	switch {
	case err != nil:
		return err
	case open == nil: // no containers
		l.done = true
		l.out.WriteString("[]")
	case open != json.Delim('['):
		l.done = true
		l.out.WriteString(`"not a list"`)
	default:
		l.out.WriteByte('[')
	}
	return nil
}

// unexpected returns the error of a list that ends in its middle.
func unexpected(err error) error {
	if err == io.EOF { //nolint:errorlint // the decoder returns it bare
		return io.ErrUnexpectedEOF
	}
	return err
}
