// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"time"
)

// Image is an image that known containers were made from.
type Image struct {
	ImageRef    string    `json:"imageRef,omitempty"`
	ImageDigest string    `json:"imageDigest,omitempty"`
	ImageID     string    `json:"imageId,omitempty"`
	Containers  int       `json:"containers"` // known, removed ones included
	Running     int       `json:"running"`    // paused ones included
	LastEventAt time.Time `json:"lastEventAt"`
}

// Images returns a page of images, ordered by reference, digest and id, and the cursor of the next page, empty for the last one.
// An empty tenant selects all. A cursor from elsewhere is ErrCursor.
func (s *Store) Images(ctx context.Context, tenant string, limit int, cursor string) ([]Image, string, error) {
	q := query{text: `SELECT image_ref, image_digest, image_id, count(*), sum(state IN ('running', 'paused')), max(last_event_ns)
		FROM containers WHERE image_ref || image_digest || image_id <> ''`}
	q.andIf(tenant != "", "+tenant = ?", tenant) // in the order of the index of images, not by tenant and sorted in memory
	if cursor != "" {
		var at [3]string
		if err := decodeTexts(cursor, at[:]); err != nil {
			return nil, "", err
		}
		q.and("(image_ref, image_digest, image_id) > (?, ?, ?)", at[0], at[1], at[2])
	}
	q.add(" GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LIMIT ?", limit+1)
	rows, err := s.read.QueryContext(ctx, q.text, q.args...)
	if err != nil {
		return nil, "", fmt.Errorf("query images: %w", err)
	}
	defer rows.Close()
	var out []Image
	size := 0
	for rows.Next() {
		if len(out) == limit || size > MaxPage {
			last := out[len(out)-1]
			return out, encodeTexts([]string{last.ImageRef, last.ImageDigest, last.ImageID}), nil
		}
		var i Image
		var lastEvent int64
		if err := rows.Scan(&i.ImageRef, &i.ImageDigest, &i.ImageID, &i.Containers, &i.Running, &lastEvent); err != nil {
			return nil, "", fmt.Errorf("query images: %w", err)
		}
		i.LastEventAt = fromNanos(lastEvent)
		size += len(i.ImageRef) + len(i.ImageDigest) + len(i.ImageID) + rowSize
		out = append(out, i)
	}
	if err := rows.Err(); err != nil {
		return nil, "", fmt.Errorf("query images: %w", err)
	}
	return out, "", nil
}

// Summary counts the current containers and their problems.
type Summary struct {
	Containers   int // neither removed nor replaced
	Running      int // of Containers, paused ones included
	Failed       int // of Containers: the latest run ended without success
	CrashLooping int // of Containers
	OOMKills     int // runs with an OOM kill since the moment asked for
}

// Summary counts the containers of a tenant; an empty tenant selects all.
func (s *Store) Summary(ctx context.Context, tenant string, oomSince time.Time) (Summary, error) {
	var out Summary
	err := s.read.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(c.state IN ('running', 'paused')), 0),
		coalesce(sum(`+failedEnd+`), 0), count(l.since_ns),
		(SELECT count(DISTINCT tenant || char(10) || container_id || char(10) || run_ns) FROM events
			WHERE oom = 1 AND superseded_by IS NULL AND when_ns >= ?2 AND (?1 = '' OR tenant = ?1))
		FROM containers c LEFT JOIN loops l ON l.tenant = c.tenant AND l.identity = c.identity
		WHERE `+currentContainer+` AND (?1 = '' OR c.tenant = ?1)`, tenant, oomSince.UnixNano()).
		Scan(&out.Containers, &out.Running, &out.Failed, &out.CrashLooping, &out.OOMKills)
	if err != nil {
		return Summary{}, fmt.Errorf("count containers: %w", err)
	}
	return out, nil
}
