// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// MaxRecord is the most bytes that the record of one container takes. What would not fit is left out, labels first: it is
// only missing from what is reported of a container that is gone by the next start.
const MaxRecord = 512

// record is a container as it is stored. Hashes are stored as bytes, times as ns since 1970.
type record struct {
	Name        string            `json:"n,omitempty"`
	Created     int64             `json:"c,omitempty"`
	Attempt     uint32            `json:"a,omitempty"`
	Sandbox     hash              `json:"s,omitempty"`
	Namespace   string            `json:"ns,omitempty"`
	Pod         string            `json:"p,omitempty"`
	UID         string            `json:"u,omitempty"`
	Compose     []string          `json:"cp,omitempty"` // project, service, number: what a later container of the place restarts
	OS          string            `json:"os,omitempty"`
	Image       string            `json:"i,omitempty"`
	ImageID     hash              `json:"ii,omitempty"`
	RepoDigests []string          `json:"rd,omitempty"`
	Manifest    hash              `json:"d,omitempty"`
	Labels      map[string]string `json:"l,omitempty"`
	Annotations map[string]string `json:"an,omitempty"`

	State    container.State `json:"st"`
	Started  int64           `json:"rs,omitempty"`
	Finished int64           `json:"rf,omitempty"`
	ExitCode *uint32         `json:"x,omitempty"`
	Reason   string          `json:"r,omitempty"`
	OOM      bool            `json:"o,omitempty"`
	PID      uint32          `json:"pid,omitempty"`
	Restarts uint32          `json:"rc,omitempty"`
	Revision uint32          `json:"rv,omitempty"`
	Pauses   uint32          `json:"pa,omitempty"`
	OOMs     uint32          `json:"om,omitempty"`
	Health   string          `json:"h,omitempty"`
	Healths  uint32          `json:"hn,omitempty"`
	Loop     *loop           `json:"lp,omitempty"`
}

type loop struct {
	Ends   []end  `json:"e"`
	Count  uint32 `json:"n,omitempty"`
	Active bool   `json:"a,omitempty"`
}

type end struct {
	At     int64  `json:"t"`
	Code   uint32 `json:"c,omitempty"`
	Reason string `json:"r,omitempty"`
}

// hash is a text that is mostly a hexadecimal hash. It is stored as a mark and base64: "#" for sha256:<hash>, "." for a
// bare hash, "=" and the text itself for anything else.
type hash string

func (h hash) MarshalText() ([]byte, error) {
	mark, digits := ".", string(h)
	if digest, ok := strings.CutPrefix(digits, "sha256:"); ok {
		mark, digits = "#", digest
	}
	if b, err := hex.DecodeString(digits); err == nil && len(b) > 0 && hex.EncodeToString(b) == digits {
		return []byte(mark + base64.RawStdEncoding.EncodeToString(b)), nil
	}
	return []byte("=" + string(h)), nil
}

func (h *hash) UnmarshalText(text []byte) error {
	if len(text) == 0 || text[0] == '=' {
		*h = hash(strings.TrimPrefix(string(text), "="))
		return nil
	}
	b, err := base64.RawStdEncoding.DecodeString(string(text[1:]))
	if err != nil {
		return fmt.Errorf("a hash is not base64: %w", err)
	}
	*h = hash(hex.EncodeToString(b))
	if text[0] == '#' {
		*h = "sha256:" + *h
	}
	return nil
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// earliest is the year 2000, in ns since 1970: what is stored before it is damage, for no container of CRI or Docker is older.
const earliest = 946_684_800_000_000_000

// moment gives the time, or the zero time where it is unset or none of a container.
func moment(ns int64) time.Time {
	if ns < earliest {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// encode gives the record of a container in at most MaxRecord bytes.
func encode(k *tracker.Known) ([]byte, error) {
	c := k.Container
	r := record{
		Name: c.Name, Created: nanos(c.CreatedAt), Attempt: c.Attempt,
		Sandbox: hash(c.Pod.SandboxID), Namespace: c.Pod.Namespace, Pod: c.Pod.Name, UID: c.Pod.UID,
		Image: c.Image.Reference, ImageID: hash(c.Image.ID), RepoDigests: c.Image.RepoDigests, Manifest: hash(c.Image.ManifestDigest),
		Labels: c.Labels, Annotations: c.Annotations,
		OS: c.Platform.OS, State: k.State, Started: nanos(k.Run.StartedAt), Finished: nanos(k.Run.FinishedAt), Reason: k.Run.Reason, OOM: k.Run.OOMKilled,
		PID: k.Run.PID, Restarts: k.RestartCount, Revision: k.Revision, Pauses: k.Pauses, OOMs: k.OOMs,
		Health: k.Health, Healths: k.Healths,
	}
	if k.Run.ExitKnown {
		r.ExitCode = &k.Run.ExitCode
	}
	if c.Compose.Identity() != "" {
		r.Compose = []string{c.Compose.Project, c.Compose.Service, c.Compose.Number}
	}
	if k.CrashLoop != nil {
		r.Loop = &loop{Count: k.CrashLoop.Count, Active: k.CrashLoop.Active}
		for _, e := range k.CrashLoop.Ends {
			r.Loop.Ends = append(r.Loop.Ends, end{nanos(e.At), e.ExitCode, e.Reason})
		}
	}
	shrink := []func(){
		func() { r.Labels, r.Annotations = nil, nil },
		func() { r.RepoDigests = nil },
		func() { r.ImageID = "" },
		func() { r.Sandbox = "" },
		func() { // the ends decide when a loop begins; of one that has begun, the count and how it mostly ends are enough
			if r.Loop != nil && r.Loop.Active {
				e := k.CrashLoop.Dominant()
				r.Loop.Ends = []end{{nanos(e.At), e.ExitCode, e.Reason}}
			}
		},
		func() { r.Image, r.Manifest = "", "" },
		func() { r.Compose = nil },
		func() { r.Namespace, r.Pod = "", "" }, // the pod's uid tells whose restart the next container is
		func() {
			r.Reason = ""
			if r.Loop != nil {
				r.Loop.Ends = nil
			}
		},
		func() { r.Name, r.UID, r.OS, r.Health = "", "", "", "" }, // longer than Kubernetes allows; what is left has no text
	}
	for i := 0; ; i++ {
		raw, err := json.Marshal(&r)
		if err != nil || len(raw) <= MaxRecord || i == len(shrink) {
			return raw, err
		}
		shrink[i]()
	}
}

func decode(id string, m meta, raw []byte) (*tracker.Known, error) {
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("decode its record: %w", err)
	}
	if r.State > container.StateExited {
		return nil, fmt.Errorf("decode its record: there is no state %d", r.State)
	}
	k := &tracker.Known{
		Container: &container.Container{
			Engine: m.Engine, Runtime: m.Runtime, Platform: container.Platform{OS: r.OS}, ID: id, Name: r.Name, CreatedAt: moment(r.Created), Attempt: r.Attempt,
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
	if r.Loop != nil {
		k.CrashLoop = &tracker.CrashLoop{Count: r.Loop.Count, Active: r.Loop.Active}
		for _, e := range r.Loop.Ends {
			k.CrashLoop.Ends = append(k.CrashLoop.Ends, tracker.FailedEnd{At: moment(e.At), ExitCode: e.Code, Reason: e.Reason})
		}
	}
	return k, nil
}
