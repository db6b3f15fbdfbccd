// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"

	"github.com/zastava-otel/zastava/internal/backend/projection"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

// stored is a revision of an event that the database has.
type stored struct {
	seq         int64
	revision    uint32
	latest      bool
	kind        string
	containerID string
	run         int64
}

// conflicts reports whether the stored event is about another kind or container than e, whose id it has.
func (s *stored) conflicts(e *backendapi.Event) bool {
	return s.kind != string(e.Kind) || s.containerID != containerIDOf(e)
}

// add stores an event, unless it is rejected or a duplicate, and counts it in out.
func (in *ingestion) add(ctx context.Context, rec *Record, out *backendapi.IngestResponse) error {
	e := &rec.Event
	known, err := in.known(ctx, e.EventID)
	if err != nil {
		return err
	}
	var latest *stored
	for i := range known {
		k := &known[i]
		if k.conflicts(e) {
			out.Rejected = append(out.Rejected, backendapi.Rejected{
				EventID: e.EventID, Code: CodeIDConflict,
				Detail: fmt.Sprintf("this id is known as %s of container %q", k.kind, k.containerID),
			})
			return nil
		}
		if k.revision == e.Revision {
			out.Duplicates++
			return nil
		}
		if k.latest {
			latest = k
		}
	}
	out.Accepted++
	return in.insert(ctx, rec, latest)
}

// insert stores a new revision of an event whose latest revision is latest, nil if there is none.
func (in *ingestion) insert(ctx context.Context, rec *Record, latest *stored) error {
	e, containerID := &rec.Event, containerIDOf(&rec.Event)
	var supersededBy any
	if latest != nil && latest.revision > e.Revision {
		supersededBy = latest.seq
	}
	var namespace string
	if e.Workload != nil {
		namespace = e.Workload.Namespace
	}
	run := projection.RunKey(e)
	oom := e.Kind == backendapi.KindOOM || (e.Run != nil && e.Run.OOMKilled)
	res, err := in.events.add.ExecContext(ctx, in.tenant, e.EventID, e.Revision, supersededBy, e.When.UnixNano(), string(e.Kind),
		namespace, containerID, projection.Identity(e.Workload), run, projection.Folds(e.Kind), oom, in.now, in.batchID, rec.Body)
	if err != nil {
		return err
	}
	seq, err := res.LastInsertId()
	if err != nil {
		return err
	}
	in.arrived[seq] = e
	if supersededBy != nil {
		return nil // it is older than what the state was derived from
	}
	if latest != nil {
		if _, err := in.events.supersede.ExecContext(ctx, seq, latest.seq); err != nil {
			return err
		}
		in.touched.note(containerID, latest.run, seq).superseded = true
	}
	in.touched.add(e, seq)
	return nil
}

func (in *ingestion) known(ctx context.Context, eventID string) ([]stored, error) {
	rows, err := in.events.revisions.QueryContext(ctx, in.tenant, eventID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []stored
	for rows.Next() {
		var k stored
		if err := rows.Scan(&k.seq, &k.revision, &k.latest, &k.kind, &k.containerID, &k.run); err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, rows.Err()
}

// containerIDOf returns the id of the event's container; empty for a gap.
func containerIDOf(e *backendapi.Event) string {
	if e.Workload == nil {
		return ""
	}
	return e.Workload.ContainerID
}
