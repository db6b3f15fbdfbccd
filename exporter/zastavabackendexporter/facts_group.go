// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavabackendexporter

import (
	"bytes"
	"slices"

	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/record"
)

// factGroup is the facts of one subject and call graph.
type factGroup struct {
	subject   backendapi.Subject
	graph     string
	lines     [][]byte
	resources []int // indexes in the logs that were pushed
	invalid   int   // samples and files that cannot be converted to facts
}

// group returns the facts in logs, by subject and call graph in order of first occurrence. The lines of a group are sorted, so that
// the same facts result in the same requests. skipped counts the facts of containers without a subject, or without what
// callgraph_id names.
func (f *factSender) group(logs plog.Logs) (groups []*factGroup, skipped int) {
	type groupKey struct{ subject, graph string }
	byKey := map[groupKey]*factGroup{}
	var origin record.Origin
	for r, rl := range logs.ResourceLogs().All() {
		origin.Read(&f.decoder, rl.Resource())
		subject := origin.Subject()
		graph, ok := f.graph.expand(&subject, origin.Workload())
		var g *factGroup
		if subject.Key() != "" && ok {
			k := groupKey{subject.Key(), graph}
			if g = byKey[k]; g == nil {
				g = &factGroup{subject: subject, graph: graph}
				byKey[k] = g
				groups = append(groups, g)
			}
			g.resources = append(g.resources, r)
		}
		for _, sl := range rl.ScopeLogs().All() {
			for _, lr := range sl.LogRecords().All() {
				n, err := origin.Facts(lr, func(fact *backendapi.Fact) {
					if g == nil {
						skipped++
						return
					}
					g.lines = append(g.lines, append(fact.AppendCanonical(nil), '\n'))
				})
				if err != nil {
					n++
				}
				if g == nil {
					skipped += n
				} else {
					g.invalid += n
				}
			}
		}
	}
	for _, g := range groups {
		slices.SortFunc(g.lines, bytes.Compare)
	}
	return groups, skipped
}
