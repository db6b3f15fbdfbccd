// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backendapi

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// The checks of the parts of an event. An absent part is nil.

func (c *check) observation(o *Observation) {
	if !slices.Contains(Sources, o.Source) {
		c.fault("observation.source", fmt.Sprintf("must be one of %v", Sources))
	}
	if o.Precision != "" && !slices.Contains(Precisions, o.Precision) {
		c.fault("observation.precision", fmt.Sprintf("must be one of %v, or absent", Precisions))
	}
	c.maybeTime("observation.windowStart", o.WindowStart)
	c.maybeTime("observation.observedAt", o.ObservedAt)
}

func (c *check) workload(w *Workload) {
	if w == nil {
		return
	}
	c.form("workload.containerId", w.ContainerID, isContainerURI, "must be <engine>://<id>")
	c.length("workload.containerId", w.ContainerID, MaxName)
	c.length("workload.imageRef", w.ImageRef, MaxText)
	for _, f := range [...]struct{ field, value string }{
		{"workload.platform", w.Platform},
		{"workload.namespace", w.Namespace},
		{"workload.pod", w.Pod},
		{"workload.podUid", w.PodUID},
		{"workload.container", w.Container},
		{"workload.imageDigest", w.ImageDigest},
		{"workload.imageId", w.ImageID},
	} {
		c.length(f.field, f.value, MaxName)
	}
	if w.Owner != nil {
		c.required("workload.owner.kind", w.Owner.Kind, MaxName)
		c.required("workload.owner.name", w.Owner.Name, MaxName)
	}
	c.pairs("workload.labels", w.Labels)
}

func (c *check) run(r *Run) {
	if r == nil {
		return
	}
	c.maybeTime("run.startedAt", r.StartedAt)
	c.maybeTime("run.finishedAt", r.FinishedAt)
	c.length("run.signal", r.Signal, MaxName)
	c.length("run.reason", r.Reason, MaxText)
}

func (c *check) previous(p *Previous) {
	if p == nil {
		return
	}
	c.length("previous.containerId", p.ContainerID, MaxName)
	c.length("previous.reason", p.Reason, MaxText)
	c.maybeTime("previous.finishedAt", p.FinishedAt)
}

func (c *check) crashLoop(l *CrashLoop) {
	if l == nil {
		return
	}
	c.length("crashLoop.reason", l.Reason, MaxText)
	if math.IsNaN(l.WindowSeconds) || math.IsInf(l.WindowSeconds, 0) || l.WindowSeconds < 0 {
		c.fault("crashLoop.windowSeconds", "must be a number that is not negative")
	}
}

func (c *check) gap(g *Gap) {
	if g == nil {
		return
	}
	c.length("gap.runtime", g.Runtime, MaxName)
	c.required("gap.cause", g.Cause, MaxName)
	c.time("gap.from", g.From)
	c.time("gap.to", g.To)
	c.exact("gap.folded", g.Folded)
}

func (c *check) process(p *Process) {
	if p == nil {
		return
	}
	c.length("process.executable", p.Executable, MaxText)
	c.length("process.buildId", p.BuildID, MaxName)
	for i, arg := range p.Entrypoint {
		c.length("process.entrypoint["+strconv.Itoa(i)+"]", arg, MaxArgument)
	}
}

func (c *check) loadedLib(at string, l *LoadedLib) {
	c.required(at+"path", l.Path, MaxText)
	c.length(at+"buildId", l.BuildID, MaxName)
	if l.SHA256 != "" && !isLowerHex(l.SHA256, 64) {
		c.fault(at+"sha256", "must be 64 lower-case hexadecimal digits")
	}
	c.exact(at+"size", l.Size)
}
