// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// MaxRuns bounds the runs that Container and Runs return for one container, MaxLoads the facts.
const (
	MaxRuns  = 200
	MaxLoads = 1000
)

// Detail is a container with its runs and the files it loads.
type Detail struct {
	Container
	Labels     map[string]string      `json:"labels,omitempty"`
	Process    *backendapi.Process    `json:"process,omitempty"`
	LoadedLibs []backendapi.LoadedLib `json:"loadedLibs,omitempty"`
	Loads      []StoredFact           `json:"loads,omitempty"` // the code that was seen to run in it, at most MaxLoads
	Runs       []Run                  `json:"runs"`            // of all its attempts, latest first, at most MaxRuns
}

// Run is one life of the main process of a container.
type Run struct {
	ContainerID string     `json:"containerId"`
	StartedAt   *time.Time `json:"startedAt,omitempty"`
	Ended       bool       `json:"ended"`
	End
	RestartCount *uint32 `json:"restartCount,omitempty"`
}

var (
	// ErrNotFound means that no such container is known.
	ErrNotFound = errors.New("no such container is known")
	// ErrAmbiguous means that several containers have the id.
	ErrAmbiguous = errors.New("several containers have this id")
)

// Container returns one container by <engine>://<id> or its bare id; an empty tenant selects all. Errors: ErrNotFound,
// ErrAmbiguous, or a failure of the database.
func (s *Store) Container(ctx context.Context, tenant, id string) (*Detail, error) {
	q := query{text: selectContainer}
	if strings.Contains(id, "://") {
		q.and("c.container_id = ?", id)
	} else {
		q.and("c.bare_id = ?", id)
	}
	q.andIf(tenant != "", "c.tenant = ?", tenant)
	q.add(" LIMIT 2")
	found, err := s.scanContainers(ctx, q)
	if err != nil {
		return nil, err
	}
	switch len(found) {
	case 0:
		return nil, ErrNotFound
	case 1:
	default:
		return nil, ErrAmbiguous
	}
	d := &Detail{Container: found[0]}
	if err := s.loadKnown(ctx, d); err != nil {
		return nil, fmt.Errorf("query labels and process of container %s: %w", id, err)
	}
	if d.Loads, _, err = s.Facts(ctx, FactQuery{Tenant: d.Tenant, Container: d.ContainerID, Limit: MaxLoads}); err != nil {
		return nil, err
	}
	runs, err := s.Runs(ctx, []Container{d.Container}, time.Time{})
	if err != nil {
		return nil, err
	}
	d.Runs = runs[d.ContainerID]
	if d.Runs == nil {
		d.Runs = []Run{}
	}
	return d, nil
}

func (s *Store) scanContainers(ctx context.Context, q query) ([]Container, error) {
	rows, err := s.read.QueryContext(ctx, q.text, q.args...)
	if err != nil {
		return nil, fmt.Errorf("query containers: %w", err)
	}
	defer rows.Close()
	var out []Container
	for rows.Next() {
		c, _, err := scanContainer(rows)
		if err != nil {
			return nil, fmt.Errorf("query containers: %w", err)
		}
		out = append(out, *c)
	}
	return out, rows.Err()
}

// loadKnown finds the latest labels, process and libraries that an event reported.
func (s *Store) loadKnown(ctx context.Context, d *Detail) error {
	for member, to := range map[string]any{
		"$.workload.labels": &d.Labels, "$.process": &d.Process, "$.loadedLibs": &d.LoadedLibs,
	} {
		var text *string
		err := s.read.QueryRowContext(ctx, `SELECT (SELECT json_extract(CAST(body AS TEXT), ?3) FROM events WHERE tenant = ?1 AND container_id = ?2
			AND superseded_by IS NULL AND json_type(CAST(body AS TEXT), ?3) IS NOT NULL
			ORDER BY when_ns DESC, event_id DESC LIMIT 1)`, d.Tenant, d.ContainerID, member).Scan(&text)
		if err != nil {
			return err
		}
		if text == nil {
			continue
		}
		if err := json.Unmarshal([]byte(*text), to); err != nil {
			return err
		}
	}
	return nil
}

// Runs returns by container id the runs of each container and of its other attempts, without those that ended before since.
// They are ordered latest first, at most MaxRuns for each container. Once those of all have more than MaxPage bytes, the other
// containers have none.
func (s *Store) Runs(ctx context.Context, of []Container, since time.Time) (map[string][]Run, error) {
	out := make(map[string][]Run, len(of))
	stmt, err := s.read.PrepareContext(ctx, `SELECT container_id, run_ns, ended, finished_ns, exit_code, signal, reason, oom, restart_count
		FROM runs WHERE tenant = ? AND identity = ? AND (ended = 0 OR finished_ns >= ?)
		ORDER BY CASE WHEN run_ns > 0 THEN run_ns ELSE finished_ns END DESC, container_id DESC LIMIT ?`)
	if err != nil {
		return nil, fmt.Errorf("query runs: %w", err)
	}
	defer stmt.Close()
	size := 0
	for i := range of {
		if size > MaxPage {
			break
		}
		c := &of[i]
		if out[c.ContainerID], err = scanRuns(stmt.QueryContext(ctx, c.Tenant, c.identity, nanos(since), MaxRuns)); err != nil {
			return nil, fmt.Errorf("query the runs of %s: %w", c.ContainerID, err)
		}
		for _, r := range out[c.ContainerID] {
			size += rowSize + len(r.ContainerID) + len(r.Signal) + len(r.Reason)
		}
	}
	return out, nil
}

func scanRuns(rows *sql.Rows, err error) ([]Run, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Run
	for rows.Next() {
		var (
			r                   Run
			started, finished   int64
			exitCode, restarted *int64
		)
		if err := rows.Scan(&r.ContainerID, &started, &r.Ended, &finished, &exitCode, &r.Signal, &r.Reason, &r.OOMKilled,
			&restarted); err != nil {
			return nil, err
		}
		r.StartedAt, r.FinishedAt = timeOf(&started), timeOf(&finished)
		r.ExitCode, r.RestartCount = uint32Of(exitCode), uint32Of(restarted)
		out = append(out, r)
	}
	return out, rows.Err()
}
