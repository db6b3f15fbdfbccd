// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"net/url"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// hidden has a character of each kind that must not reach a browser.
const hidden = "x\u202egnp\u2066y\u2069\u200b\u200f\u061c\ufeff\u00ad\u2028\x1b[31m\x7f\u0085z"

func TestCharactersThatAreNotShownBecomeEscapes(t *testing.T) {
	s := serve(t, nil)
	l := recent(0, "api", 5)
	e := l.Started(1)
	e.Node, e.Workload.Container, e.Workload.Pod, e.Workload.Namespace = "n"+hidden, "c"+hidden, "p"+hidden, "s"+hidden
	e.Workload.ImageRef, e.Workload.ImageDigest = "i"+hidden, "sha256:"+hidden
	e.Workload.Labels = map[string]string{"k" + hidden: "v" + hidden}
	e.Process = &backendapi.Process{Executable: "/bin/" + hidden}
	e.LoadedLibs = []backendapi.LoadedLib{{Path: "/lib/" + hidden}}
	stop := l.Stopped(2, 1, 3, "r"+hidden)
	stop.Run.Signal = "SIG" + hidden
	stop.Workload = e.Workload
	s.put(e, stop)
	for _, path := range []string{"/?show=all", "/?q=" + url.QueryEscape(hidden), "/containers/" + l.ID, "/containers/" + url.PathEscape(hidden), "/images/" + url.PathEscape("sha256:"+hidden)} {
		_, _, body := s.get(path)
		for _, r := range body {
			if r != '\n' && r != '\t' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
				assert.Failf(t, "a hidden character", "%U on %s", r, path)
				break
			}
		}
		assert.Contains(t, body, "x&lt;U+202E&gt;gnp&lt;U+2066&gt;y", path)
	}
	_, _, body := s.get("/?show=all")
	assert.Contains(t, body, `title="i`+strings.Split(hidden, "\u202e")[0]+"&lt;U+202E&gt;", "in attributes too")

	// Names in other scripts stay as they are.
	other := recent(1, "служба-服务-خدمة-é", 5)
	s.put(other.Started(1))
	_, _, body = s.get("/")
	require.Contains(t, body, "служба-服务-خدمة-é")
}

func TestPageBesideHiddenNamesKeepsItsLinks(t *testing.T) {
	s := serve(t, nil)
	l := recent(0, hidden, 5)
	s.put(l.Started(1))
	_, _, body := s.get("/?show=all")
	assert.Contains(t, body, `href="/containers/containerd:%2F%2F`+l.ID+`"`)
}
