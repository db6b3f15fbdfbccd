// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package backendapi

import (
	"strings"
	"time"
)

// The paths of runtime facts, and a media type.
const (
	FactsPath         = "/signals/runtime-facts"        // JSON, and queries
	FactsNDJSONPath   = "/signals/runtime-facts/ndjson" // one fact a line
	NDJSONContentType = "application/x-ndjson"
)

// FactSchemaVersion is the schema of a fact in quarantine: an object of callgraphId, eventId (made for the quarantine), fact and
// subject.
const FactSchemaVersion = "zastava.runtime.fact@v1.0"

// Limits of facts (docs/api/openapi.yaml).
const (
	MaxFactsBytes    = 10 << 20 // of uncompressed facts in a request
	MaxFactsRequest  = 100_000  // facts in a request
	MaxFactMetadata  = 64       // entries of a fact's metadata
	maxExactInteger  = 1<<53 - 1
	maxLoaderBaseLen = 18 // 0x and 16 digits
)

// The keys of Fact.Metadata that this project writes. Values are texts.
const (
	FactPath          = "path"          // within the container
	FactSHA256        = "sha256"        // of the file, 64 lower-case hexadecimal digits
	FactSize          = "size"          // of the file, in bytes
	FactKind          = "kind"          // executable, library, jar, go_module …
	FactStatus        = "status"        // of the hash: PRESENT, ABSENT or UNKNOWN
	FactReason        = "reason"        // why the hash is UNKNOWN or ABSENT
	FactBuildIDStatus = "buildIdStatus" // of the build id: PRESENT, ABSENT or UNKNOWN
	FactBuildIDReason = "buildIdReason" // why it is UNKNOWN or ABSENT
	FactIdentity      = "identity"      // what the symbol id is derived from: file_hash, build_id or path_hash
	FactGoModule      = "goModule"      // path@version of the Go module that the fact is about
)

// Fact reports that code runs: a file that processes of a container have mapped or opened, or a module within one. SymbolID and
// HitCount are required; absent means unknown.
type Fact struct {
	BuildID       string            `json:"buildId,omitempty"` // with its prefix: see GNUBuildID, GoBuildID and PEGUID
	CodeID        string            `json:"codeId,omitempty"`
	ContainerID   string            `json:"containerId,omitempty"` // <engine>://<id>
	EvidenceURI   string            `json:"evidenceUri,omitempty"`
	HitCount      uint64            `json:"hitCount"`             // samples in which it was seen since the last send; the backend adds them up
	LoaderBase    string            `json:"loaderBase,omitempty"` // hexadecimal, 0x…
	Metadata      map[string]string `json:"metadata,omitempty"`
	ObservedAt    *time.Time        `json:"observedAt,omitempty"`
	ProcessID     uint32            `json:"processId,omitempty"`
	ProcessName   string            `json:"processName,omitempty"`
	PURL          string            `json:"purl,omitempty"`
	SocketAddress string            `json:"socketAddress,omitempty"`
	SymbolID      string            `json:"symbolId"`
}

// Subject is what facts are about: an image by its digest, a scan, or a component and its version. One of the three is enough; of
// several, the first in this order is used.
type Subject struct {
	Component   string `json:"component,omitempty"`
	ImageDigest string `json:"imageDigest,omitempty"`
	ScanID      string `json:"scanId,omitempty"`
	Version     string `json:"version,omitempty"`
}

// Key returns the subject as one string; empty if there is none.
func (s *Subject) Key() string {
	switch {
	case s.ImageDigest != "":
		return "image:" + s.ImageDigest
	case s.ScanID != "":
		return "scan:" + s.ScanID
	case s.Component != "" && s.Version != "":
		return "component:" + s.Component + "@" + s.Version
	}
	return ""
}

// Facts is the body of POST FactsPath.
type Facts struct {
	CallgraphID string  `json:"callgraphId"`
	Events      []Fact  `json:"events"`
	Subject     Subject `json:"subject"`
}

// FactsResponse is the body of a 202 answer to facts.
type FactsResponse struct {
	Accepted   int    `json:"accepted"` // facts stored or added to stored ones
	SubjectKey string `json:"subjectKey"`
}

// AppendCanonical appends the RFC 8785 bytes of the fact: a line of NDJSON without its end. It allocates nothing but dst for
// metadata of at most 16 entries with ASCII keys.
func (f *Fact) AppendCanonical(dst []byte) []byte {
	o := object(dst)
	o.optional(`"buildId":`, f.BuildID)
	o.optional(`"codeId":`, f.CodeID)
	o.optional(`"containerId":`, f.ContainerID)
	o.optional(`"evidenceUri":`, f.EvidenceURI)
	o.number(`"hitCount":`, f.HitCount)
	o.optional(`"loaderBase":`, f.LoaderBase)
	o.pairs(`"metadata":`, f.Metadata)
	o.maybeTime(`"observedAt":`, f.ObservedAt)
	if f.ProcessID != 0 {
		o.number(`"processId":`, uint64(f.ProcessID))
	}
	o.optional(`"processName":`, f.ProcessName)
	o.optional(`"purl":`, f.PURL)
	o.optional(`"socketAddress":`, f.SocketAddress)
	o.text(`"symbolId":`, f.SymbolID)
	return o.end()
}

// Validate returns all faults of the fact, each as a *FieldError.
func (f *Fact) Validate() error {
	c := check{}
	c.fact("", f)
	return c.err()
}

// Validate returns all faults of the subject.
func (s *Subject) Validate() error {
	c := check{}
	for _, p := range [...]struct{ field, value string }{
		{"imageDigest", s.ImageDigest}, {"scanId", s.ScanID}, {"component", s.Component}, {"version", s.Version},
	} {
		c.length(p.field, p.value, MaxName)
	}
	if s.Key() == "" {
		c.fault("subject", NoSubject)
	}
	return c.err()
}

// The messages of refusals that the API shares with the upstream platform.
const (
	NoCallgraph = "callgraphId is required"
	NoFacts     = "runtime fact stream was empty"
	NoSubject   = "Subject must include scanId/imageDigest/component+version"
)

func (c *check) fact(at string, f *Fact) {
	c.required(at+"symbolId", f.SymbolID, MaxText)
	if f.HitCount < 1 || f.HitCount > maxExactInteger {
		c.fault(at+"hitCount", "must be 1 to 9007199254740991")
	}
	c.length(at+"codeId", f.CodeID, MaxText)
	c.length(at+"buildId", f.BuildID, MaxName)
	c.length(at+"purl", f.PURL, MaxText)
	c.length(at+"evidenceUri", f.EvidenceURI, MaxText)
	c.length(at+"processName", f.ProcessName, MaxName)
	c.length(at+"containerId", f.ContainerID, MaxName)
	c.length(at+"socketAddress", f.SocketAddress, MaxName)
	if f.LoaderBase != "" && !isAddress(f.LoaderBase) {
		c.fault(at+"loaderBase", "must be 0x and 1 to 16 lower-case hexadecimal digits")
	}
	c.maybeTime(at+"observedAt", f.ObservedAt)
	if len(f.Metadata) > MaxFactMetadata {
		c.fault(at+"metadata", "must have at most 64 entries")
	}
	for k, v := range f.Metadata {
		if !PairFits(k, v) {
			c.fault(at+"metadata", "must have keys of 1 to 512 and values of at most 4096 characters")
			break
		}
	}
}

func isAddress(s string) bool {
	digits, ok := strings.CutPrefix(s, "0x")
	return ok && digits != "" && len(s) <= maxLoaderBaseLen && isLowerHex(digits, len(digits))
}
