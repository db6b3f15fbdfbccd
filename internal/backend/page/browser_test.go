// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"encoding/json"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/test/browser"
)

func mustJSON(tb testing.TB, v any) string {
	tb.Helper()
	raw, err := json.Marshal(v)
	require.NoError(tb, err)
	return string(raw)
}

func prefer(t *testing.T, b *browser.Browser, dark string) {
	t.Helper()
	_, err := chromedp.Call(b.Context(), emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: dark}},
	})
	require.NoError(t, err)
}

const stateOf = `(name) => { for (const r of document.querySelectorAll("tbody[data-list] tr"))
	if (r.querySelector("a").textContent === name) return r.querySelector(".state").innerText.trim(); return "" }`

func TestPageUpdatesInBrowser(t *testing.T) {
	b, s := browser.Open(t), serve(t, nil)
	first, second := recent(0, "first", 20), recent(1, "second", 1)
	s.put(first.Started(1))
	b.Do(chromedp.EmulateViewport(1280, 800), chromedp.Navigate(s.url+"/"))
	b.Until(`document.querySelector("#live").dataset.state === "live"`)
	browser.Ask[bool](b, `(window.sameDocument = true)`)

	t.Run("a container that starts appears without reload", func(t *testing.T) {
		s.put(second.Started(1))
		b.Until(`(` + stateOf + `)("second") === "running"`)
		b.Until(`document.querySelector(".feed li").innerText.includes("second started")`)
		b.Until(`document.querySelector(".tiles b").textContent === "2"`)
	})
	t.Run("the keyboard reaches the rows and keeps its place", func(t *testing.T) {
		browser.Ask[bool](b, `(document.activeElement.blur(), true)`)
		for range 20 {
			b.Do(chromedp.KeyEvent("\t"))
			if browser.Ask[bool](b, `document.activeElement.closest("tbody tr") !== null`) {
				break
			}
		}
		assert.Equal(t, "first", browser.Ask[string](b, `document.activeElement.textContent`))
		b.Do(chromedp.KeyEvent(kb.ArrowDown))
		assert.Equal(t, "second", browser.Ask[string](b, `document.activeElement.textContent`))
		assert.NotEqual(t, "none", browser.Ask[string](b, `getComputedStyle(document.activeElement, "::after").outlineStyle`), "focus is seen")
	})
	t.Run("a stop changes the row, and the focus stays", func(t *testing.T) {
		s.put(second.Stopped(30, 1, 137, "OOMKilled"))
		b.Until(`(` + stateOf + `)("second") === "OOM-killed"`)
		assert.Equal(t, "second", browser.Ask[string](b, `document.activeElement.textContent`))
		assert.True(t, browser.Ask[bool](b, `window.sameDocument`), "no reload")
	})
	t.Run("times are local with UTC in the tooltip", func(t *testing.T) {
		assert.True(t, browser.Ask[bool](b, `[...document.querySelectorAll("time")].every((t) => t.title.endsWith(" UTC") && !t.textContent.includes("UTC"))`))
	})
	t.Run("pause stops updates and resume catches up", func(t *testing.T) {
		b.Do(chromedp.Click(chromedp.CSS("#pause")))
		b.Until(`document.querySelector("#live").dataset.state === "paused"`)
		third := recent(2, "third", 1)
		s.put(third.Started(1))
		assert.Empty(t, browser.Ask[string](b, `(`+stateOf+`)("third")`))
		b.Do(chromedp.Click(chromedp.CSS("#pause")))
		b.Until(`(` + stateOf + `)("third") === "running"`)
	})
	t.Run("the filter narrows while typing", func(t *testing.T) {
		browser.Ask[bool](b, `(document.activeElement.blur(), true)`)
		b.Do(chromedp.KeyEvent("/"))
		assert.Equal(t, "q", browser.Ask[string](b, `document.activeElement.id`), "the slash goes to the filter")
		// The protocol sends the character apart from the key, so that holding the key back does not hold it back.
		browser.Ask[bool](b, `(document.activeElement.value = "", true)`)
		b.Do(chromedp.KeyEvent("fir"))
		b.Until(`document.querySelectorAll("tbody[data-list] tr").length === 1`)
		assert.Contains(t, browser.Ask[string](b, `location.search`), "q=fir")
		b.Do(chromedp.KeyEvent("zzz"))
		b.Until(`document.body.innerText.includes("Nothing matches")`)
	})
	t.Run("nothing scrolls sideways on a phone, in light and dark", func(t *testing.T) {
		grounds := map[string]bool{}
		for _, scheme := range []string{"light", "dark"} {
			prefer(t, b, scheme)
			for _, path := range []string{"/", "/containers/" + second.ID} {
				b.Do(chromedp.EmulateViewport(380, 800), chromedp.Navigate(s.url+path))
				assert.LessOrEqual(t, browser.Ask[int](b, `document.documentElement.scrollWidth`), 380, path)
				grounds[browser.Ask[string](b, `getComputedStyle(document.body).backgroundColor`)] = true
			}
		}
		assert.Len(t, grounds, 2)
		assert.Less(t, browser.Ask[int](b, `Number(getComputedStyle(document.body).backgroundColor.match(/\d+/)[0])`), 60, "dark is dark")
	})
	t.Run("the container's page is live too", func(t *testing.T) {
		b.Until(`document.querySelector("#live").dataset.state === "live"`)
		assert.Equal(t, 1, browser.Ask[int](b, `document.querySelectorAll(".runs tbody tr").length`))
		s.put(second.InRun(backendapi.KindRestart, 40, 40))
		b.Until(`document.querySelectorAll(".runs tbody tr").length === 2 && document.querySelector(".title .state").innerText.trim() === "running"`)
	})
}
