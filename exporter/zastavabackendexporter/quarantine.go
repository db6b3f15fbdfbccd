// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"context"
	"fmt"
	"sync"

	"go.uber.org/zap"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/quarantine"
)

var (
	causeEvicted   = attributeSet("cause", "evicted")
	causeUnwritten = attributeSet("cause", "unwritten")
)

// refusal is one or more events that no retry can deliver: those of span were refused with err, or the answer to an accepted batch
// named one of them as rejected.
type refusal struct {
	span     span
	status   int
	reason   string
	err      error
	rejected *backendapi.Rejected // nil if the events were refused
}

// quarantineWriter adds to a quarantine, and logs when that begins to fail and when it works again.
type quarantineWriter struct {
	directory *quarantine.Directory
	logger    *zap.Logger

	mu     sync.Mutex
	failed bool
}

// newQuarantineWriter returns nil where no quarantine is configured.
func newQuarantineWriter(cfg QuarantineConfig, logger *zap.Logger) *quarantineWriter {
	if cfg.Directory == "" {
		return nil
	}
	return &quarantineWriter{logger: logger, directory: quarantine.New(quarantine.Options{
		Directory: cfg.Directory, MaxFileBytes: cfg.MaxFileBytes, MaxTotalBytes: cfg.MaxTotalBytes,
	})}
}

// add puts entries into quarantine. The result says which of them were lost; an error is logged here.
func (c *quarantineWriter) add(entries []quarantine.Entry) quarantine.Result {
	res, err := c.directory.Add(entries)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil && !c.failed:
		c.logger.Error("The quarantine cannot be written; until it can be, what the backend refuses is lost", zap.Error(err))
	case err == nil && c.failed:
		c.logger.Info("The quarantine can be written again")
	}
	c.failed = err != nil
	return res
}

// settle puts refused events into quarantine and counts them. Events that could not be put there are lost: counted, logged where
// they were rejected, and an error where they were refused.
func (e *eventSender) settle(ctx context.Context, p *payload, refusals []refusal) []error {
	if len(refusals) == 0 {
		return nil
	}
	lost := e.putIntoQuarantine(ctx, p, refusals)
	var faults []error
	var ids, codes []string // of rejected events
	for i, r := range refusals {
		switch {
		case lost[i] == 0:
		case r.rejected != nil:
			ids = append(ids, p.items[r.span.from].eventID)
			codes = append(codes, clipName(r.rejected.Code))
			e.countDropped(ctx, p.items[r.span.from:r.span.to], "rejected")
		default:
			e.count(ctx, int64(lost[i]), outcomeRefused)
			items := p.items[r.span.from:r.span.to]
			e.countDropped(ctx, items[:lost[i]], "refused") // the quarantine reports how many are lost, not which
			faults = append(faults, fmt.Errorf("%d events refused, from %s to %s: %w",
				lost[i], items[0].eventID, items[len(items)-1].eventID, r.err))
		}
	}
	if len(ids) > 0 { // the backend's text on them may quote them, so it is not logged
		e.count(ctx, int64(len(ids)), outcomeRejected)
		e.logger.Error("The backend rejected events permanently; dropped", zap.Int("events", len(ids)),
			zap.Strings("first_ids", ids[:min(len(ids), maxLoggedEvents)]), zap.Strings("first_codes", codes[:min(len(codes), maxLoggedEvents)]))
	}
	return faults
}

// putIntoQuarantine returns for each refusal how many of its events are lost because they could not be put into quarantine.
func (e *eventSender) putIntoQuarantine(ctx context.Context, p *payload, refusals []refusal) (lost []int) {
	lost = make([]int, len(refusals))
	var entries []quarantine.Entry
	var from []int // the refusal of each entry
	now := e.now()
	for i, r := range refusals {
		if e.quarantine == nil {
			lost[i] = r.span.to - r.span.from
			continue
		}
		for _, it := range p.items[r.span.from:r.span.to] {
			entries = append(entries, quarantine.Entry{Time: now, Reason: r.reason, Status: r.status, Envelope: p.json[it.from:it.to]})
			from = append(from, i)
		}
	}
	if len(entries) == 0 {
		return lost
	}
	res := e.quarantine.add(entries)
	for _, i := range res.Lost {
		lost[from[i]]++
	}
	kept := len(entries) - len(res.Lost)
	e.count(ctx, int64(kept), outcomeQuarantined)
	e.countQuarantineLost(ctx, res.Evicted, causeEvicted)
	e.countQuarantineLost(ctx, len(res.Lost), causeUnwritten)
	if kept > 0 {
		e.logger.Warn("The backend refuses events permanently; put into quarantine", zap.Int("events", kept),
			zap.String("directory", e.config.Quarantine.Directory))
	}
	if res.Evicted > 0 {
		e.logger.Error("The quarantine is full; its oldest events are lost", zap.Int("events", res.Evicted),
			zap.Int64("max_total_bytes", e.config.Quarantine.MaxTotalBytes))
	}
	return lost
}
