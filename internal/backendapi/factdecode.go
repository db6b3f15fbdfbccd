// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backendapi

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// FactReader reads facts from JSON strictly: names that occur twice or are unknown, nulls, text that is not UTF-8 and
// values of another type are faults, each a *FieldError with the name of the field. It belongs to one goroutine.
type FactReader struct {
	dec    jsontext.Decoder
	src    bytes.Reader
	faults check
}

// NewFactReader makes a reader.
func NewFactReader() *FactReader { return new(FactReader) }

// Read reads one fact: a JSON object, with nothing after it. at is put before the names of fields in faults.
func (r *FactReader) Read(raw []byte, at string) (Fact, error) {
	var f Fact
	r.src.Reset(raw)
	r.dec.Reset(&r.src)
	r.faults = check{}
	if err := r.object(at, &f); err != nil {
		return Fact{}, err
	}
	if _, err := r.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return Fact{}, malformedFact(at, "has something after its end")
	}
	r.faults.fact(at, &f)
	return f, r.faults.err()
}

func malformedFact(at, detail string) error {
	if at == "" {
		return &FieldError{Field: "fact", Detail: detail}
	}
	return &FieldError{Field: at[:len(at)-1], Detail: detail} // without the dot
}

func (r *FactReader) object(at string, f *Fact) error {
	tok, err := r.dec.ReadToken()
	if err != nil {
		return malformedFact(at, "is not well-formed JSON: "+reason(err))
	}
	if tok.Kind() != '{' {
		return malformedFact(at, "is not a JSON object")
	}
	for {
		tok, err := r.dec.ReadToken()
		if err != nil {
			return malformedFact(at, "is not well-formed JSON: "+reason(err))
		}
		if tok.Kind() == '}' {
			return nil
		}
		if err := r.member(at, tok.String(), f); err != nil {
			return malformedFact(at, "is not well-formed JSON: "+reason(err))
		}
	}
}

// member reads the value of a member. Its error says that the JSON is broken; a value that is not right is a fault.
func (r *FactReader) member(at, name string, f *Fact) error {
	switch name {
	case "symbolId":
		return r.text(at, name, &f.SymbolID)
	case "codeId":
		return r.text(at, name, &f.CodeID)
	case "buildId":
		return r.text(at, name, &f.BuildID)
	case "purl":
		return r.text(at, name, &f.PURL)
	case "loaderBase":
		return r.text(at, name, &f.LoaderBase)
	case "processName":
		return r.text(at, name, &f.ProcessName)
	case "containerId":
		return r.text(at, name, &f.ContainerID)
	case "socketAddress":
		return r.text(at, name, &f.SocketAddress)
	case "evidenceUri":
		return r.text(at, name, &f.EvidenceURI)
	case "hitCount":
		return r.number(at, name, maxExactInteger, &f.HitCount)
	case "processId":
		var n uint64
		err := r.number(at, name, math.MaxUint32, &n)
		f.ProcessID = uint32(n)
		return err
	case "observedAt":
		return r.time(at, name, &f.ObservedAt)
	case "metadata":
		return r.metadata(at, &f.Metadata)
	}
	r.faults.fault(at+shortName(name), "is not a field of a fact")
	return r.dec.SkipValue()
}

func (r *FactReader) text(at, name string, to *string) error {
	if r.dec.PeekKind() != '"' {
		r.faults.fault(at+name, "must be a text")
		return r.dec.SkipValue()
	}
	tok, err := r.dec.ReadToken()
	if err != nil {
		return err
	}
	if *to = tok.String(); *to == "" {
		r.faults.fault(at+name, "must not be empty; leave out what is not known")
	}
	return nil
}

func (r *FactReader) number(at, name string, most uint64, to *uint64) error {
	raw, err := r.dec.ReadValue()
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(string(raw), 10, 64)
	if err != nil || n > most {
		r.faults.fault(at+name, "must be a whole number up to "+strconv.FormatUint(most, 10))
		return nil //nolint:nilerr // noted as a fault
	}
	*to = n
	return nil
}

func (r *FactReader) time(at, name string, to **time.Time) error {
	var text string
	if err := r.text(at, name, &text); err != nil || text == "" {
		return err
	}
	when, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || text[len(text)-1] != 'Z' {
		r.faults.fault(at+name, "must be an RFC 3339 time in UTC, such as 2026-11-22T18:09:44Z")
		return nil //nolint:nilerr // noted as a fault
	}
	when = when.UTC()
	*to = &when
	return nil
}

func (r *FactReader) metadata(at string, to *map[string]string) error {
	if r.dec.PeekKind() != '{' {
		r.faults.fault(at+"metadata", "must be an object of texts")
		return r.dec.SkipValue()
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return err
	}
	for r.dec.PeekKind() == '"' {
		tok, err := r.dec.ReadToken()
		if err != nil {
			return err
		}
		key := tok.String()
		if r.dec.PeekKind() != '"' {
			r.faults.fault(at+"metadata."+shortName(key), "must be a text")
			if err := r.dec.SkipValue(); err != nil {
				return err
			}
			continue
		}
		if tok, err = r.dec.ReadToken(); err != nil {
			return err
		}
		if *to == nil {
			*to = map[string]string{}
		}
		if len(*to) <= MaxFactMetadata {
			(*to)[key] = tok.String()
		}
	}
	_, err := r.dec.ReadToken()
	return err
}

// shortName keeps hostile input from filling an answer.
func shortName(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// reason is a syntax error without the text it is about, which may hold anything.
func reason(err error) string {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return "it ends early"
	}
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok && syntax.Err != nil {
		return syntax.Err.Error()
	}
	return "it cannot be read"
}
