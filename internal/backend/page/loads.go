// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package page

import (
	"cmp"
	"context"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/zastava-otel/zastava/internal/backend/store"
	"github.com/zastava-otel/zastava/internal/backendapi"
)

// load is a fact in words.
type load struct {
	store.StoredFact
	What   string // path in the container, or Go module and version
	Kind   string
	SHA256 string
	Size   string // in bytes
	Reason string // why the file's hash is unknown
}

// imageView is the page of an image.
type imageView struct {
	frame
	Digest string
	Loads  []load
	More   bool // there are more facts than Loads
}

// Image serves GET /images/{digest}.
func (p *Page) Image(w http.ResponseWriter, r *http.Request) {
	v, err := p.image(r.Context(), r, r.PathValue("digest"))
	p.render(w, r, "image.html", http.StatusOK, v, err)
}

func (p *Page) image(ctx context.Context, r *http.Request, digest string) (*imageView, error) {
	v := &imageView{Digest: digest}
	var err error
	if v.frame, err = p.frame(ctx, "Image "+digest); err != nil {
		return nil, err
	}
	subject := backendapi.Subject{ImageDigest: digest}
	v.followFacts(subject.Key())
	facts, next, err := p.store.Facts(ctx, store.FactQuery{Tenant: tenantOf(r), Subject: subject.Key(), Limit: store.MaxLoads})
	if err != nil {
		return nil, err
	}
	v.Loads, v.More = loadsOf(facts), next != ""
	return v, nil
}

func loadsOf(facts []store.StoredFact) []load {
	out := make([]load, 0, len(facts))
	for i := range facts {
		m := facts[i].Metadata
		out = append(out, load{
			StoredFact: facts[i],
			What:       cmp.Or(m[backendapi.FactGoModule], m[backendapi.FactPath], facts[i].SymbolID),
			Kind:       strings.ReplaceAll(cmp.Or(m[backendapi.FactKind], "file"), "_", " "),
			SHA256:     m[backendapi.FactSHA256],
			Size:       m[backendapi.FactSize],
			Reason:     strings.ReplaceAll(m[backendapi.FactReason], "_", " "),
		})
	}
	slices.SortStableFunc(out, func(a, b load) int {
		return cmp.Or(cmp.Compare(kindOrder(a.Kind), kindOrder(b.Kind)), cmp.Compare(path.Dir(a.What), path.Dir(b.What)), cmp.Compare(a.What, b.What))
	})
	return out
}

// kindOrder puts executables first and the many modules of a Go binary last.
func kindOrder(kind string) int {
	switch kind {
	case "executable":
		return 0
	case "go module":
		return 2
	}
	return 1
}
