// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"strconv"
)

// The header of a file says to whom it belongs. It is a frame with the sequence number 0, which no transaction has: versions that know
// no header skip it like a copy of an earlier transaction. Files without a header, of such versions, are accepted.
const (
	formatVersion = 2
	keyVersion    = "version"
	keyOwner      = "owner"
)

// header returns the header of a file of this journal.
func (j *Journal) header() []byte {
	frame, _ := appendFrame(nil, 0, []Change{
		{Key: keyVersion, Value: []byte(strconv.Itoa(formatVersion))}, {Key: keyOwner, Value: []byte(j.options.Owner)},
	})
	return frame
}

// belongs returns an error if the file with this header is not of this journal. frame is the first valid frame.
func (j *Journal) belongs(frame []byte) error {
	var version, owner string
	eachChange(frame, func(c Change, _ int) {
		switch c.Key {
		case keyVersion:
			version = string(c.Value)
		case keyOwner:
			owner = string(c.Value)
		}
	})
	if n, err := strconv.Atoi(version); err != nil || n > formatVersion {
		return fmt.Errorf("it has the format version %.20q, and this collector reads versions up to %d", version, formatVersion)
	}
	if j.options.Owner != "" && owner != j.options.Owner {
		return fmt.Errorf("it belongs to %.200q, and this directory is of %q: stop the collector and move it to the directory of that name", owner, j.options.Owner)
	}
	return nil
}
