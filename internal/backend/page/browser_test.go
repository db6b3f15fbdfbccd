// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"context"
	"encoding/json"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

func mustJSON(tb testing.TB, v any) string {
	tb.Helper()
	raw, err := json.Marshal(v)
	require.NoError(tb, err)
	return string(raw)
}

// browser is a tab of a headless Chromium. Whatever the page complains about fails the test.
type browser struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // chromedp's handle of the tab
}

func openBrowser(t *testing.T) *browser {
	t.Helper()
	var found string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "headless-shell"} {
		if path, err := exec.LookPath(name); err == nil {
			found = path
			break
		}
	}
	if found == "" {
		t.Skip("no chromium on the PATH: the page is not tried in a browser")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(found), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.Flag("no-first-run", true))
	ctx, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, closeTab := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		assert.NoError(t, chromedp.Cancel(ctx))
		closeTab()
		stop()
	})
	b := &browser{t, ctx}
	require.NoError(t, chromedp.Do(ctx))
	require.NoError(t, chromedp.Listen(ctx, func(ev any) {
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("the page's script failed: %s", ev.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			t.Errorf("the page wrote to the console: %s", ev.Type)
		case *log.EventEntryAdded:
			t.Errorf("the browser complains: %s", ev.Entry.Text)
		}
	}))
	_, err := chromedp.Call(ctx, log.Enable, cdp.Empty{})
	require.NoError(t, err)
	return b
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	require.NoError(b.t, chromedp.Do(ctx, steps...))
}

func ask[T any](b *browser, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	require.NoError(b.t, err, expression)
	return v
}

// until waits for a condition on the page.
func (b *browser) until(expression string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool { return ask[bool](b, expression) }, 30*time.Second, 50*time.Millisecond, expression)
}

func (b *browser) scheme(dark string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: dark}},
	})
	require.NoError(b.t, err)
}

const stateOf = `(name) => { for (const r of document.querySelectorAll("tbody[data-list] tr"))
	if (r.querySelector("a").textContent === name) return r.querySelector(".state").innerText.trim(); return "" }`

func TestThePageInABrowser(t *testing.T) {
	b, s := openBrowser(t), serve(t)
	first, second := recent(0, "first", 20), recent(1, "second", 1)
	s.put(first.Started(1))
	b.do(chromedp.EmulateViewport(1280, 800), chromedp.Navigate(s.url+"/"))
	b.until(`document.querySelector("#live").dataset.state === "live"`)
	ask[bool](b, `(window.sameDocument = true)`)

	t.Run("a container that starts appears without reload", func(t *testing.T) {
		s.put(second.Started(1))
		b.until(`(` + stateOf + `)("second") === "running"`)
		b.until(`document.querySelector(".feed li").innerText.includes("second started")`)
		assert.Equal(t, "2", ask[string](b, `document.querySelector(".tiles b").textContent`))
	})
	t.Run("the keyboard reaches the rows and keeps its place", func(t *testing.T) {
		ask[bool](b, `(document.activeElement.blur(), true)`)
		for range 20 {
			b.do(chromedp.KeyEvent("\t"))
			if ask[bool](b, `document.activeElement.closest("tbody tr") !== null`) {
				break
			}
		}
		assert.Equal(t, "first", ask[string](b, `document.activeElement.textContent`))
		b.do(chromedp.KeyEvent(kb.ArrowDown))
		assert.Equal(t, "second", ask[string](b, `document.activeElement.textContent`))
		assert.NotEqual(t, "none", ask[string](b, `getComputedStyle(document.activeElement, "::after").outlineStyle`), "focus is seen")
	})
	t.Run("a stop changes the row, and the focus stays", func(t *testing.T) {
		s.put(second.Stopped(30, 1, 137, "OOMKilled"))
		b.until(`(` + stateOf + `)("second") === "OOM-killed"`)
		assert.Equal(t, "second", ask[string](b, `document.activeElement.textContent`))
		assert.True(t, ask[bool](b, `window.sameDocument`), "no reload")
	})
	t.Run("times are local with UTC in the tooltip", func(t *testing.T) {
		assert.True(t, ask[bool](b, `[...document.querySelectorAll("time")].every((t) => t.title.endsWith(" UTC") && !t.textContent.includes("UTC"))`))
	})
	t.Run("pause stops updates and resume catches up", func(t *testing.T) {
		b.do(chromedp.Click(chromedp.CSS("#pause")))
		b.until(`document.querySelector("#live").dataset.state === "paused"`)
		third := recent(2, "third", 1)
		s.put(third.Started(1))
		assert.Empty(t, ask[string](b, `(`+stateOf+`)("third")`))
		b.do(chromedp.Click(chromedp.CSS("#pause")))
		b.until(`(` + stateOf + `)("third") === "running"`)
	})
	t.Run("the filter narrows while typing", func(t *testing.T) {
		ask[bool](b, `(document.activeElement.blur(), true)`)
		b.do(chromedp.KeyEvent("/"))
		assert.Equal(t, "q", ask[string](b, `document.activeElement.id`), "the slash goes to the filter")
		// The protocol sends the character apart from the key, so that holding the key back does not hold it back.
		ask[bool](b, `(document.activeElement.value = "", true)`)
		b.do(chromedp.KeyEvent("fir"))
		b.until(`document.querySelectorAll("tbody[data-list] tr").length === 1`)
		assert.Contains(t, ask[string](b, `location.search`), "q=fir")
		b.do(chromedp.KeyEvent("zzz"))
		b.until(`document.body.innerText.includes("Nothing matches")`)
	})
	t.Run("nothing scrolls sideways on a phone, in light and dark", func(t *testing.T) {
		grounds := map[string]bool{}
		for _, scheme := range []string{"light", "dark"} {
			b.scheme(scheme)
			for _, path := range []string{"/", "/containers/" + second.ID} {
				b.do(chromedp.EmulateViewport(380, 800), chromedp.Navigate(s.url+path))
				assert.LessOrEqual(t, ask[int](b, `document.documentElement.scrollWidth`), 380, path)
				grounds[ask[string](b, `getComputedStyle(document.body).backgroundColor`)] = true
			}
		}
		assert.Len(t, grounds, 2)
		assert.Less(t, ask[int](b, `Number(getComputedStyle(document.body).backgroundColor.match(/\d+/)[0])`), 60, "dark is dark")
	})
	t.Run("the container's page is live too", func(t *testing.T) {
		b.until(`document.querySelector("#live").dataset.state === "live"`)
		assert.Equal(t, 1, ask[int](b, `document.querySelectorAll(".runs tbody tr").length`))
		s.put(second.InRun(backendapi.KindRestart, 40, 40))
		b.until(`document.querySelectorAll(".runs tbody tr").length === 2 && document.querySelector(".title .state").innerText.trim() === "running"`)
	})
}
