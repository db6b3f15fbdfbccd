// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/test/browser"
)

// loadsTable returns the table of loaded code, as one line of text for each row.
const loadsTable = `[...document.querySelectorAll("table.loads tbody tr")].map((r) => [...r.cells].slice(0, 4).map((c) => c.innerText.trim().replace(/\s+/g, " ")).join(" | "))`

// refreshes counts how often the page requested itself.
const refreshes = `performance.getEntriesByType("resource").filter((e) => e.initiatorType === "fetch").length`

func TestLoadedCodeUpdatesInBrowser(t *testing.T) {
	b, s, l := browser.Open(t), serve(t, nil), recent(0, "api", 5)
	started := l.Started(1)
	started.Workload.ImageDigest = "sha256:abab"
	s.put(started)
	fact := func(symbol, path, kind string, hits uint64) backendapi.Fact {
		return backendapi.Fact{
			SymbolID: symbol, HitCount: hits, ContainerID: "containerd://" + l.ID, ObservedAt: new(l.At(2)),
			Metadata: map[string]string{backendapi.FactPath: path, backendapi.FactKind: kind},
		}
	}
	program, hostile := fact("p", "/usr/bin/api", "executable", 3), fact("h", `/tmp/<script>document.title="x"</script>`, "library", 1)
	program.BuildID = "gnu-build-id:9f9f"
	program.Metadata[backendapi.FactSHA256] = strings.Repeat("ab", 32)
	hostile.Metadata[backendapi.FactReason] = "too_large"
	s.putFacts(program, hostile)
	before := []string{
		`/usr/bin/api | executable | gnu-build-id:9f9f sha256:abababababab… | 3×`,
		`/tmp/<script>document.title="x"</script> | library | hash unknown: too large | 1×`,
	}

	visit := func(t *testing.T, arrived string) {
		t.Helper()
		b.Until(arrived)
		b.Until(`document.querySelector("#live").dataset.state === "live" && ` + refreshes + ` > 0`) // the page refreshes once when the stream opens
		browser.Ask[bool](b, `(window.sameDocument = true)`)
	}
	b.Do(chromedp.Navigate(s.url + "/"))
	open := func(link string) { // by a script: the page may replace the node before a click reaches it
		b.Until(`document.querySelector('` + link + `') !== null`)
		browser.Ask[bool](b, `(setTimeout(() => document.querySelector('`+link+`').click()), true)`)
	}
	open("tbody[data-list] a")
	visit(t, `location.pathname.startsWith("/containers/") && document.querySelector("#libs-title") !== null`)
	assert.Equal(t, "Loaded code", browser.Ask[string](b, `document.querySelector("#libs-title").textContent`))
	assert.Equal(t, before, browser.Ask[[]string](b, loadsTable))
	assert.Zero(t, browser.Ask[int](b, `document.querySelectorAll("main script").length`))
	assert.Equal(t, "api · Zastava", browser.Ask[string](b, `document.title`))

	late := fact("l", "/usr/lib/libssl.so.3", "library", 2)
	late.PURL, late.BuildID = "pkg:deb/debian/libssl3@3.0.15", "gnu-build-id:1234"
	late.Metadata[backendapi.FactReason] = "budget"
	t.Run("a new fact shows without a reload", func(t *testing.T) {
		s.putFacts(late)
		b.Until(loadsTable + `.includes("/usr/lib/libssl.so.3 pkg:deb/debian/libssl3@3.0.15 | library | gnu-build-id:1234 hash unknown: budget | 2×")`)
		assert.True(t, browser.Ask[bool](b, `window.sameDocument`))
	})

	open(`a[href^="/images/"]`)
	visit(t, `location.pathname.startsWith("/images/") && document.querySelector("#loads-title") !== null`)
	assert.Len(t, browser.Ask[[]string](b, loadsTable), 3)
	t.Run("the image's page shows facts of all its containers", func(t *testing.T) {
		other := late
		other.ContainerID = "containerd://other"
		s.putFacts(other)
		b.Until(loadsTable + `.some((r) => r.startsWith("/usr/lib/libssl.so.3") && r.endsWith("4×"))`)
		assert.Equal(t, 1, browser.Ask[int](b, `document.querySelectorAll('[title="in 2 containers"]').length`))
		assert.True(t, browser.Ask[bool](b, `window.sameDocument`))
	})
	t.Run("facts of another image cause no refresh", func(t *testing.T) {
		n := browser.Ask[int](b, refreshes)
		for range 5 {
			s.putFactsOf("sha256:cdcd", late)
		}
		s.putFacts(fact("n", "/usr/lib/new.so", "library", 1))
		b.Until(loadsTable + `.some((r) => r.startsWith("/usr/lib/new.so"))`)
		assert.Equal(t, n+1, browser.Ask[int](b, refreshes))
	})
	t.Run("a page that was opened before the first fact gets the section", func(t *testing.T) {
		second := recent(1, "second", 1)
		s.put(second.Started(1)) // of an image without a digest
		b.Do(chromedp.Navigate(s.url + "/containers/" + second.ID))
		visit(t, `document.querySelector("h1").textContent === "second"`)
		assert.Empty(t, browser.Ask[[]string](b, loadsTable))
		of := fact("s", "/usr/bin/second", "executable", 1)
		of.ContainerID = "containerd://" + second.ID
		s.putFactsOf("sha256:efef", of)
		b.Until(loadsTable + `.some((r) => r.startsWith("/usr/bin/second"))`)
	})
}
