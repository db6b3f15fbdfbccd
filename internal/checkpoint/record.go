// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// MaxRecord is the largest size of one container's record, in bytes. What does not fit is omitted, labels first: it is only missing
// from what is reported of a container that is gone by the next start.
const MaxRecord = 512

// record is a container as it is stored, hashes as bytes and times as ns since 1970. The names of its fields, and their order, are
// the format; the embedded structs only group them.
type record struct {
	Name    string `json:"n,omitempty"`
	Created int64  `json:"c,omitempty"`
	Attempt uint32 `json:"a,omitempty"`
	pod
	Compose []string `json:"cp,omitempty"` // project, service, number: the identity of a container of Compose
	OS      string   `json:"os,omitempty"`
	image
	Labels      map[string]string `json:"l,omitempty"`
	Annotations map[string]string `json:"an,omitempty"`

	State container.State `json:"st"`
	run
	counts
	CrashLoop *crashLoop `json:"lp,omitempty"`
}

type pod struct {
	Sandbox   hash   `json:"s,omitempty"`
	Namespace string `json:"ns,omitempty"`
	Pod       string `json:"p,omitempty"`
	UID       string `json:"u,omitempty"`
}

type image struct {
	Image       string   `json:"i,omitempty"`
	ImageID     hash     `json:"ii,omitempty"`
	RepoDigests []string `json:"rd,omitempty"`
	Manifest    hash     `json:"d,omitempty"`
}

type run struct {
	Started  int64   `json:"rs,omitempty"`
	Finished int64   `json:"rf,omitempty"`
	ExitCode *uint32 `json:"x,omitempty"`
	Reason   string  `json:"r,omitempty"`
	OOM      bool    `json:"o,omitempty"`
	PID      uint32  `json:"pid,omitempty"`
}

// counts is what the ids of a run's transitions are derived from, with the verdict of its health check.
type counts struct {
	Restarts uint32 `json:"rc,omitempty"`
	Revision uint32 `json:"rv,omitempty"`
	Pauses   uint32 `json:"pa,omitempty"`
	OOMs     uint32 `json:"om,omitempty"`
	Health   string `json:"h,omitempty"`
	Healths  uint32 `json:"hn,omitempty"`
}

type crashLoop struct {
	Ends   []end  `json:"e"`
	Count  uint32 `json:"n,omitempty"`
	Active bool   `json:"a,omitempty"`
}

type end struct {
	At     int64  `json:"t"`
	Code   uint32 `json:"c,omitempty"`
	Reason string `json:"r,omitempty"`
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// earliest is the year 2000, in ns since 1970. A time before it is damage, because no container of CRI or Docker is older.
const earliest = 946_684_800_000_000_000

// moment returns the time; zero if it is unset or before earliest.
func moment(ns int64) time.Time {
	if ns < earliest {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// encode returns the record of a container, at most MaxRecord bytes.
func encode(k *tracker.Known) ([]byte, error) {
	r := recordOf(k)
	for i := 0; ; i++ {
		raw, err := json.Marshal(r)
		if err != nil || len(raw) <= MaxRecord || i == len(omissions) {
			return raw, err
		}
		omissions[i](r, k)
	}
}

// omissions make a record smaller, the least important part first. After the last, no text is left.
var omissions = []func(*record, *tracker.Known){
	func(r *record, _ *tracker.Known) { r.Labels, r.Annotations = nil, nil },
	func(r *record, _ *tracker.Known) { r.RepoDigests = nil },
	func(r *record, _ *tracker.Known) { r.ImageID = "" },
	func(r *record, _ *tracker.Known) { r.Sandbox = "" },
	func(r *record, k *tracker.Known) { // the ends decide when a loop begins; once it has begun, the count and its usual end are enough
		if r.CrashLoop != nil && r.CrashLoop.Active {
			e := k.CrashLoop.Dominant()
			r.CrashLoop.Ends = []end{{nanos(e.At), e.ExitCode, e.Reason}}
		}
	},
	func(r *record, _ *tracker.Known) { r.Image, r.Manifest = "", "" },
	func(r *record, _ *tracker.Known) { r.Compose = nil },
	func(r *record, _ *tracker.Known) { r.Namespace, r.Pod = "", "" }, // the pod's uid suffices to recognize a restart
	func(r *record, _ *tracker.Known) {
		r.Reason = ""
		if r.CrashLoop != nil {
			r.CrashLoop.Ends = nil
		}
	},
	func(r *record, _ *tracker.Known) { r.Name, r.UID, r.OS, r.Health = "", "", "", "" }, // longer than Kubernetes allows
}

func recordOf(k *tracker.Known) *record {
	c := k.Container
	r := &record{
		Name: c.Name, Created: nanos(c.CreatedAt), Attempt: c.Attempt, OS: c.Platform.OS,
		pod:    pod{Sandbox: hash(c.Pod.SandboxID), Namespace: c.Pod.Namespace, Pod: c.Pod.Name, UID: c.Pod.UID},
		image:  image{Image: c.Image.Reference, ImageID: hash(c.Image.ID), RepoDigests: c.Image.RepoDigests, Manifest: hash(c.Image.ManifestDigest)},
		Labels: c.Labels, Annotations: c.Annotations,
		State: k.State,
		run: run{
			Started: nanos(k.Run.StartedAt), Finished: nanos(k.Run.FinishedAt), Reason: k.Run.Reason, OOM: k.Run.OOMKilled, PID: k.Run.PID,
		},
		counts: counts{
			Restarts: k.RestartCount, Revision: k.Revision, Pauses: k.Pauses, OOMs: k.OOMs, Health: k.Health, Healths: k.Healths,
		},
	}
	if k.Run.ExitKnown {
		r.ExitCode = &k.Run.ExitCode
	}
	if c.Compose.Identity() != "" {
		r.Compose = []string{c.Compose.Project, c.Compose.Service, c.Compose.Number}
	}
	if k.CrashLoop != nil {
		r.CrashLoop = &crashLoop{Count: k.CrashLoop.Count, Active: k.CrashLoop.Active}
		for _, e := range k.CrashLoop.Ends {
			r.CrashLoop.Ends = append(r.CrashLoop.Ends, end{nanos(e.At), e.ExitCode, e.Reason})
		}
	}
	return r
}

// decode returns the container of a record. Its engine and runtime are those of the whole checkpoint.
func decode(id string, m meta, raw []byte) (*tracker.Known, error) {
	var r record
	if err := unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("decode its record: %w", err)
	}
	if r.State > container.StateExited {
		return nil, fmt.Errorf("decode its record: no state %d is defined", r.State)
	}
	k := &tracker.Known{
		Container: &container.Container{
			Engine: m.Engine, Runtime: m.Runtime, Owner: m.Owner, Platform: container.Platform{OS: r.OS}, ID: id, Name: r.Name, CreatedAt: moment(r.Created), Attempt: r.Attempt,
			Pod:    container.Pod{SandboxID: string(r.Sandbox), Namespace: r.Namespace, Name: r.Pod, UID: r.UID},
			Image:  container.Image{Reference: r.Image, ID: string(r.ImageID), RepoDigests: r.RepoDigests, ManifestDigest: string(r.Manifest)},
			Labels: r.Labels, Annotations: r.Annotations,
		},
		State:        r.State,
		Run:          container.Run{StartedAt: moment(r.Started), FinishedAt: moment(r.Finished), Reason: r.Reason, OOMKilled: r.OOM, PID: r.PID},
		RestartCount: r.Restarts, Revision: r.Revision, Pauses: r.Pauses, OOMs: r.OOMs, Health: r.Health, Healths: r.Healths,
	}
	if len(r.Compose) == 3 {
		k.Container.Compose = container.Compose{Project: r.Compose[0], Service: r.Compose[1], Number: r.Compose[2]}
	}
	if r.ExitCode != nil {
		k.Run.ExitCode, k.Run.ExitKnown = *r.ExitCode, true
	}
	if r.CrashLoop != nil {
		k.CrashLoop = &tracker.CrashLoop{Count: r.CrashLoop.Count, Active: r.CrashLoop.Active}
		for _, e := range r.CrashLoop.Ends {
			k.CrashLoop.Ends = append(k.CrashLoop.Ends, tracker.FailedEnd{At: moment(e.At), ExitCode: e.Code, Reason: e.Reason})
		}
	}
	return k, nil
}
