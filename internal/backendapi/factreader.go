// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backendapi

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// FactReader decodes facts from JSON strictly. Duplicate and unknown names, nulls, empty strings, invalid UTF-8 and values of
// another type are faults, each reported as a *FieldError with the name of the field. One goroutine may use it at a time.
type FactReader struct {
	dec     jsontext.Decoder
	src     bytes.Reader
	options json.Options
	prefix  string // of the names of fields in faults
	faults  check
}

// NewFactReader returns a reader.
func NewFactReader() *FactReader {
	r := new(FactReader)
	// Decoding without these functions would accept null everywhere, and the empty string for an absent one.
	r.options = json.JoinOptions(json.RejectUnknownMembers(true), json.WithUnmarshalers(json.JoinUnmarshalers(
		json.UnmarshalFromFunc(r.text),
		json.UnmarshalFromFunc(r.number64),
		json.UnmarshalFromFunc(r.number32),
		json.UnmarshalFromFunc(r.time),
		json.UnmarshalFromFunc(r.metadata),
	)))
	return r
}

// Read decodes one fact: a JSON object with nothing after it. Names of fields in faults begin with prefix.
func (r *FactReader) Read(raw []byte, prefix string) (Fact, error) {
	r.src.Reset(raw)
	r.dec.Reset(&r.src)
	r.prefix, r.faults = prefix, check{}
	if kind := r.dec.PeekKind(); kind != '{' && kind != 0 {
		return Fact{}, r.malformed("is not a JSON object")
	}
	var f Fact
	if err := json.UnmarshalDecode(&r.dec, &f, r.options); err != nil {
		if semantic, ok := errors.AsType[*json.SemanticError](err); ok && errors.Is(err, json.ErrUnknownName) {
			r.faults.fault(prefix+shortName(semantic.JSONPointer.LastToken()), "is not a field of a fact")
			return Fact{}, r.faults.err() // with the faults of the members before it
		}
		return Fact{}, r.malformed("is not well-formed JSON: " + reason(err))
	}
	if _, err := r.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return Fact{}, r.malformed("has something after its end")
	}
	r.faults.fact(prefix, &f)
	return f, r.faults.err()
}

// malformed returns a fault of the fact as a whole.
func (r *FactReader) malformed(detail string) error {
	name := strings.TrimSuffix(r.prefix, ".")
	if name == "" {
		name = "fact"
	}
	return &FieldError{Field: name, Detail: detail}
}

// fault records a fault of the member that was read last.
func (r *FactReader) fault(dec *jsontext.Decoder, detail string) {
	var names []string
	for name := range dec.StackPointer().Tokens() {
		names = append(names, shortName(name))
	}
	r.faults.fault(r.prefix+strings.Join(names, "."), detail)
}

// The methods below decode the values of members. Their error means that the JSON is malformed; a value that the API does not
// accept is recorded as a fault.

func (r *FactReader) text(dec *jsontext.Decoder, to *string) error {
	if dec.PeekKind() != '"' {
		r.fault(dec, "must be a text")
		return dec.SkipValue()
	}
	tok, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if *to = tok.String(); *to == "" {
		r.fault(dec, "must not be empty; omit a field whose value is unknown")
	}
	return nil
}

func (r *FactReader) number64(dec *jsontext.Decoder, to *uint64) error {
	n, err := r.number(dec, maxExactInteger)
	*to = n
	return err
}

func (r *FactReader) number32(dec *jsontext.Decoder, to *uint32) error {
	n, err := r.number(dec, math.MaxUint32)
	*to = uint32(n)
	return err
}

// number returns 0 after a fault.
func (r *FactReader) number(dec *jsontext.Decoder, most uint64) (uint64, error) {
	raw, err := dec.ReadValue()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(string(raw), 10, 64)
	if err != nil || n > most {
		r.fault(dec, "must be a whole number up to "+strconv.FormatUint(most, 10))
		return 0, nil //nolint:nilerr // recorded as a fault
	}
	return n, nil
}

func (r *FactReader) time(dec *jsontext.Decoder, to **time.Time) error {
	var text string
	if err := r.text(dec, &text); err != nil || text == "" {
		return err
	}
	when, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || text[len(text)-1] != 'Z' {
		r.fault(dec, "must be an RFC 3339 time in UTC, such as 2026-11-22T18:09:44Z")
		return nil //nolint:nilerr // recorded as a fault
	}
	*to = new(when.UTC())
	return nil
}

// metadata keeps one entry more than the API accepts, so that the check finds too many without holding all of them. Values may
// be empty.
func (r *FactReader) metadata(dec *jsontext.Decoder, to *map[string]string) error {
	if dec.PeekKind() != '{' {
		r.fault(dec, "must be an object of texts")
		return dec.SkipValue()
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() == '"' {
		tok, err := dec.ReadToken()
		if err != nil {
			return err
		}
		key := tok.String()
		if dec.PeekKind() != '"' {
			r.fault(dec, "must be a text")
			if err := dec.SkipValue(); err != nil {
				return err
			}
			continue
		}
		if tok, err = dec.ReadToken(); err != nil {
			return err
		}
		if *to == nil {
			*to = map[string]string{}
		}
		if len(*to) <= MaxFactMetadata {
			(*to)[key] = tok.String()
		}
	}
	_, err := dec.ReadToken()
	return err
}

// shortName keeps a hostile name from filling an answer.
func shortName(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// reason returns what is wrong with the syntax, without the text that is wrong, which may hold anything.
func reason(err error) string {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return "it ends early"
	}
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok && syntax.Err != nil {
		return syntax.Err.Error()
	}
	return "it cannot be read"
}
