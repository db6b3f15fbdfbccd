// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/backend/projection"
)

// Container is the state of a container as queries return it. It has more fields than other types, because the API shows a
// container as one flat object.
type Container struct {
	ContainerID  string     `json:"containerId"`
	Tenant       string     `json:"tenant"`
	Engine       string     `json:"engine"`
	Node         string     `json:"node"`
	Name         string     `json:"name,omitempty"`
	Namespace    string     `json:"namespace,omitempty"`
	Pod          string     `json:"pod,omitempty"`
	PodUID       string     `json:"podUid,omitempty"`
	ImageRef     string     `json:"imageRef,omitempty"`
	ImageDigest  string     `json:"imageDigest,omitempty"`
	ImageID      string     `json:"imageId,omitempty"`
	State        string     `json:"state"`
	Current      bool       `json:"current"` // not removed, and not replaced by a later attempt
	StartedAt    *time.Time `json:"startedAt,omitempty"`
	End                     // of its latest run
	RestartCount *uint32    `json:"restartCount,omitempty"`
	LastEventAt  time.Time  `json:"lastEventAt"`
	LastExit     *End       `json:"lastExit,omitempty"` // of this or an earlier attempt
	CrashLoop    *Loop      `json:"crashLoop,omitempty"`

	identity string
}

// End is how a run ended.
type End struct {
	FinishedAt *time.Time `json:"finishedAt,omitempty"`
	ExitCode   *uint32    `json:"exitCode,omitempty"`
	Signal     string     `json:"signal,omitempty"`
	Reason     string     `json:"reason,omitempty"`
	OOMKilled  bool       `json:"oomKilled,omitempty"`
}

// Failed reports whether the run is known to have ended without success.
func (e *End) Failed() bool { return e.OOMKilled || (e.ExitCode != nil && *e.ExitCode != 0) }

// Loop is a crash loop that has not ended.
type Loop struct {
	Since    time.Time `json:"since"`
	Count    uint32    `json:"count,omitempty"`
	ExitCode *uint32   `json:"exitCode,omitempty"`
	Reason   string    `json:"reason,omitempty"`
}

// ContainerQuery is a query for a page of containers, the last reported first; zero fields select all.
type ContainerQuery struct {
	Tenant, Namespace, State string
	Text                     string // part of a name, the image, the node or the id; the case of ASCII letters does not matter
	Current                  bool   // neither removed nor replaced
	Problems                 bool   // the last run failed, or it is crash-looping
	Limit                    int
	Cursor                   string
}

// currentContainer holds for c when no later attempt of its identity is known.
const currentContainer = `(c.state <> 'removed' AND NOT EXISTS (SELECT 1 FROM containers n WHERE n.tenant = c.tenant
	AND n.identity = c.identity AND (n.position_ns, n.container_id) > (c.position_ns, c.container_id)))`

const selectContainer = `
SELECT c.first_seq, c.container_id, c.tenant, c.engine, c.node, c.identity, c.name, c.namespace, c.pod, c.pod_uid, c.image_ref,
	c.image_digest, c.image_id, c.state, ` + currentContainer + `, c.run_ns, c.finished_ns, c.exit_code, c.signal, c.reason,
	c.oom, c.restart_count, c.last_event_ns,
	(SELECT json_object('f', finished_ns, 'c', exit_code, 's', signal, 'r', reason, 'o', oom) FROM runs r
		WHERE r.tenant = c.tenant AND r.identity = c.identity AND r.ended = 1 ORDER BY r.finished_ns DESC LIMIT 1),
	l.since_ns, l.failures, l.exit_code, l.reason
FROM containers c LEFT JOIN loops l ON l.tenant = c.tenant AND l.identity = c.identity
WHERE TRUE`

// failedEnd holds for c when its latest run ended without success.
const failedEnd = "(c.state = 'exited' AND (c.oom = 1 OR coalesce(c.exit_code, 0) <> 0))"

func (ask *ContainerQuery) where(q *query) {
	q.andIf(ask.Tenant != "", "+c.tenant = ?", ask.Tenant) // in the order of the index, not by tenant and sorted in memory
	q.andIf(ask.Namespace != "", "c.namespace = ?", ask.Namespace)
	q.andIf(ask.State != "", "c.state = ?", ask.State)
	q.andIf(ask.Current, currentContainer)
	q.andIf(ask.Problems, "("+failedEnd+" OR l.since_ns IS NOT NULL)")
	if ask.Text != "" {
		q.and(`(c.name || char(10) || c.pod || char(10) || c.namespace || char(10) || c.image_ref || char(10) || c.node ||
			char(10) || c.container_id) LIKE ? ESCAPE '\'`, "%"+escapeLike.Replace(ask.Text)+"%")
	}
}

var escapeLike = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// Containers returns a page of containers and the cursor of the next page, empty for the last one. A cursor from elsewhere is
// ErrCursor.
func (s *Store) Containers(ctx context.Context, ask ContainerQuery) ([]Container, string, error) {
	var at struct {
		FirstSeq int64  `json:"s"`
		ID       string `json:"i"`
	}
	q := query{text: selectContainer}
	ask.where(&q)
	if ask.Cursor != "" {
		if err := decodeCursor(ask.Cursor, &at); err != nil {
			return nil, "", err
		}
		q.and("(c.first_seq, c.container_id) < (?, ?)", at.FirstSeq, at.ID)
	}
	q.add(" ORDER BY c.first_seq DESC, c.container_id DESC LIMIT ?", ask.Limit+1)
	rows, err := s.read.QueryContext(ctx, q.text, q.args...)
	if err != nil {
		return nil, "", fmt.Errorf("query containers: %w", err)
	}
	defer rows.Close()
	var out []Container
	size := 0
	for rows.Next() {
		if len(out) == ask.Limit || size > MaxPage {
			return out, encodeCursor(at), nil
		}
		c, firstSeq, err := scanContainer(rows)
		if err != nil {
			return nil, "", fmt.Errorf("query containers: %w", err)
		}
		at.FirstSeq, at.ID = firstSeq, c.ContainerID
		size += c.size()
		out = append(out, *c)
	}
	if err := rows.Err(); err != nil {
		return nil, "", fmt.Errorf("query containers: %w", err)
	}
	return out, "", nil
}

// rowSize is what a row takes in an answer beside its texts, in bytes, with the names of its fields.
const rowSize = 512

// size returns about how many bytes the container takes in an answer.
func (c *Container) size() int {
	n := rowSize + len(c.ContainerID) + len(c.Name) + len(c.Namespace) + len(c.Pod) + len(c.PodUID) + len(c.ImageRef) + len(c.ImageDigest) +
		len(c.ImageID) + len(c.Node) + len(c.Signal) + len(c.Reason)
	if c.LastExit != nil {
		n += len(c.LastExit.Reason)
	}
	if c.CrashLoop != nil {
		n += len(c.CrashLoop.Reason)
	}
	return n
}

func scanContainer(rows *sql.Rows) (*Container, int64, error) {
	var (
		c                              Container
		firstSeq, started, lastEvent   int64
		finished, exit, restarts       *int64
		lastExit                       *string
		loopSince, loopCount, loopExit *int64
		loopReason                     *string
	)
	if err := rows.Scan(&firstSeq, &c.ContainerID, &c.Tenant, &c.Engine, &c.Node, &c.identity, &c.Name, &c.Namespace, &c.Pod,
		&c.PodUID, &c.ImageRef, &c.ImageDigest, &c.ImageID, &c.State, &c.Current, &started, &finished, &exit, &c.Signal,
		&c.Reason, &c.OOMKilled, &restarts, &lastEvent, &lastExit, &loopSince, &loopCount, &loopExit, &loopReason); err != nil {
		return nil, 0, err
	}
	if started != 0 {
		c.StartedAt = new(fromNanos(started))
	}
	c.FinishedAt, c.ExitCode, c.RestartCount = timeOf(finished), uint32Of(exit), uint32Of(restarts)
	c.LastEventAt = fromNanos(lastEvent)
	if lastExit != nil {
		var end struct {
			F, C *int64
			S, R string
			O    int
		}
		if err := json.Unmarshal([]byte(*lastExit), &end); err != nil {
			return nil, 0, err
		}
		c.LastExit = &End{FinishedAt: timeOf(end.F), ExitCode: uint32Of(end.C), Signal: end.S, Reason: end.R, OOMKilled: end.O != 0}
	}
	if loopSince != nil && c.State != projection.StateRemoved {
		c.CrashLoop = &Loop{Since: fromNanos(*loopSince), ExitCode: uint32Of(loopExit), Reason: *loopReason}
		if loopCount != nil {
			c.CrashLoop.Count = uint32(*loopCount)
		}
	}
	return &c, firstSeq, nil
}

func timeOf(ns *int64) *time.Time {
	if ns == nil || *ns == 0 {
		return nil
	}
	return new(fromNanos(*ns))
}

func uint32Of(v *int64) *uint32 {
	if v == nil {
		return nil
	}
	return new(uint32(*v))
}
