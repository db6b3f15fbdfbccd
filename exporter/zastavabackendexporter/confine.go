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

// refusal is events that no retry can deliver: those of span were refused for err, or one was named as rejected in the
// answer to an accepted batch.
type refusal struct {
	span     span
	status   int
	reason   string
	err      error
	rejected *backendapi.Rejected
}

// confinement is the quarantine with what was said about it.
type confinement struct {
	directory *quarantine.Directory
	logger    *zap.Logger

	mu     sync.Mutex
	failed bool
}

// newConfinement gives nil where no quarantine is configured.
func newConfinement(cfg QuarantineConfig, logger *zap.Logger) *confinement {
	if cfg.Directory == "" {
		return nil
	}
	return &confinement{logger: logger, directory: quarantine.New(quarantine.Options{
		Directory: cfg.Directory, MaxFileBytes: cfg.MaxFileBytes, MaxTotalBytes: cfg.MaxTotalBytes,
	})}
}

// add puts entries into quarantine and tells which of them are not there. It says once that the quarantine fails, and once
// that it works again.
func (c *confinement) add(entries []quarantine.Entry) (quarantine.Result, error) {
	res, err := c.directory.Add(entries)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil && !c.failed:
		c.logger.Error("The quarantine cannot be written; what the backend refuses is lost until it can", zap.Error(err))
	case err == nil && c.failed:
		c.logger.Info("The quarantine can be written again")
	}
	c.failed = err != nil
	return res, err
}

// settle puts what was refused into quarantine and counts it. What is not there in the end is lost: counted, logged where
// it was rejected, and an error where it was refused.
func (e *backendExporter) settle(ctx context.Context, p *payload, refusals []refusal) []error {
	if len(refusals) == 0 {
		return nil
	}
	lost := e.quarantine(ctx, p, refusals)
	var faults []error
	var rejected []*backendapi.Rejected
	for i, r := range refusals {
		switch {
		case lost[i] == 0:
		case r.rejected != nil:
			rejected = append(rejected, r.rejected)
			e.countDropped(ctx, p.items[r.span.from:r.span.to], "rejected")
		default:
			e.count(ctx, int64(lost[i]), outcomeRefused)
			items := p.items[r.span.from:r.span.to]
			e.countDropped(ctx, items[:lost[i]], "refused") // which of them are in quarantine is not told
			faults = append(faults, fmt.Errorf("%d events refused, from %s to %s: %w",
				lost[i], items[0].eventID, items[len(items)-1].eventID, r.err))
		}
	}
	if len(rejected) > 0 { // the backend's text on them may quote them, so it is not logged
		e.count(ctx, int64(len(rejected)), outcomeRejected)
		first := rejected[:min(len(rejected), maxLoggedEvents)]
		e.logger.Error("The backend rejected events for good; dropped", zap.Int("events", len(rejected)),
			zap.Strings("first_ids", each(first, func(r *backendapi.Rejected) string { return clipName(r.EventID) })),
			zap.Strings("first_codes", each(first, func(r *backendapi.Rejected) string { return clipName(r.Code) })))
	}
	return faults
}

// quarantine tells how many events of each refusal are lost because they could not be put into quarantine.
func (e *backendExporter) quarantine(ctx context.Context, p *payload, refusals []refusal) (lost []int) {
	lost = make([]int, len(refusals))
	var entries []quarantine.Entry
	var from []int // the refusal of each entry
	now := e.now()
	for i, r := range refusals {
		if e.confined == nil {
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
	res, _ := e.confined.add(entries) // the error was logged
	for _, i := range res.Lost {
		lost[from[i]]++
	}
	kept := len(entries) - len(res.Lost)
	e.count(ctx, int64(kept), outcomeQuarantined)
	e.countLost(ctx, res.Evicted, causeEvicted)
	e.countLost(ctx, len(res.Lost), causeUnwritten)
	if kept > 0 {
		e.logger.Warn("The backend refuses events for good; put into quarantine", zap.Int("events", kept),
			zap.String("directory", e.config.Quarantine.Directory))
	}
	if res.Evicted > 0 {
		e.logger.Error("The quarantine is full; its oldest events are lost", zap.Int("events", res.Evicted),
			zap.Int64("max_total_bytes", e.config.Quarantine.MaxTotalBytes))
	}
	return lost
}
