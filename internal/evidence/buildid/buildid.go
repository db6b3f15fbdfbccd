// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package buildid reads the metadata of a binary: the build-id of an ELF or PE file, and the build information that Go's linker
// writes.
//
// The file belongs to a container and may be hostile. At most 8 MiB are read, no number in the file decides how much memory is
// allocated, and invalid headers are a result and not an error.
package buildid

import (
	"errors"
	"io"
	"time"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/limit"
)

// maxMetadataBytes is what is read of one file. The headers and notes of real ones have less than 1 MiB.
const maxMetadataBytes = 8 << 20

// Metadata identifies a binary.
type Metadata struct {
	// BuildID has the format of evidence.File.BuildID.
	BuildID evidence.Datum[string]
	// GoBuildID and Go are ABSENT for ELF files that Go did not link.
	GoBuildID evidence.Datum[string]
	Go        evidence.Datum[evidence.GoBuild]
}

// Unknown returns the metadata of a file that could not be read.
func Unknown(reason evidence.Reason) Metadata {
	return Metadata{
		BuildID:   evidence.Unknown[string](reason),
		GoBuildID: evidence.Unknown[string](reason),
		Go:        evidence.Unknown[evidence.GoBuild](reason),
	}
}

// limits bound what one file may cost. The CPU time is a hundred times what the largest honest file takes.
var limits = limit.Limits{Bytes: maxMetadataBytes, CPU: time.Second}

// boundedReaderAt reads at most what a budget allows altogether.
type boundedReaderAt struct {
	r      io.ReaderAt
	budget *limit.Budget
}

func (b boundedReaderAt) ReadAt(p []byte, at int64) (int, error) {
	err := b.budget.Take(int64(len(p)))
	if err == nil {
		err = b.budget.Spent()
	}
	if err != nil {
		return 0, err
	}
	if at < 0 {
		return 0, io.EOF
	}
	return b.r.ReadAt(p, at)
}

// Read reads the metadata of a binary. The error is one of reading the file; a file of an unknown format, or with invalid headers, is
// UNKNOWN with ReasonNotELF, one whose headers are made to be expensive UNKNOWN with ReasonHostile.
//
// Each part is read once, and nothing is checked in one reading and used in another: the file may change meanwhile.
func Read(file io.ReaderAt) (m Metadata, err error) {
	r := boundedReaderAt{r: file, budget: limit.New(limits)}
	m, err = read(r)
	if _, exceeded := errors.AsType[*limit.Error](err); exceeded || errors.Is(err, errHostile) {
		return Unknown(evidence.ReasonHostile), nil
	}
	return m, err
}

func read(r io.ReaderAt) (m Metadata, err error) {
	f, err := readELF(r)
	switch {
	case err == nil:
		return f.metadata(r)
	case !errors.Is(err, errNotELF):
		return m, err
	}
	m = Unknown(evidence.ReasonNotELF)
	guid, err := readPE(r)
	switch {
	case err == nil && guid != "":
		m.BuildID = evidence.Present("pe-guid:" + guid)
	case err == nil:
		m.BuildID = evidence.Absent[string]()
	case !errors.Is(err, errNotPE):
		return m, err
	}
	return m, nil
}

func (f *elfFile) metadata(r io.ReaderAt) (m Metadata, err error) {
	m = Metadata{BuildID: evidence.Absent[string](), GoBuildID: evidence.Absent[string](), Go: evidence.Absent[evidence.GoBuild]()}
	if f.notes.buildID != nil {
		m.BuildID = evidence.Present(gnuBuildID(f.notes.buildID))
	}
	if f.notes.goBuildID != "" {
		m.GoBuildID = evidence.Present(f.notes.goBuildID)
	}
	if f.goInfo.size > 0 {
		m.Go, err = f.readGoBuild(r)
	}
	return m, err
}
