// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"bytes"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/backend/backendtest"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/test/browser"
)

const (
	screenshotWidth, screenshotHeight = 1280, 860
	maxScreenshot                     = 200_000 // bytes: it is loaded with the README

	images = "../../../docs/images"
)

// pictured is the moment at which the screenshot is taken. The browser's clock and the backend's both stand there.
var pictured = time.Date(2026, 11, 22, 18, 9, 44, 0, time.UTC)

// TestScreenshotIsTaken takes the picture of docs/images/page.png from a fixed state, so that it changes only with the page.
// `make screenshots` keeps it there; otherwise it is written to a temporary folder.
func TestScreenshotIsTaken(t *testing.T) {
	dir := os.Getenv("ZASTAVA_SCREENSHOTS")
	if dir == "" {
		dir = t.TempDir()
	}
	b, s := browser.Open(t), serve(t, func() time.Time { return pictured })
	for _, step := range shop() {
		s.put(step...)
	}
	prefer(t, b, "light")
	stopClock(t, b)
	b.Do(chromedp.EmulateViewport(screenshotWidth, screenshotHeight), chromedp.Navigate(s.url+"/"))
	b.Until(`document.querySelector("#live").dataset.state === "live" && document.fonts.status === "loaded" && ` + refreshes + ` > 0`)
	b.Until(`document.querySelector("time").textContent.startsWith("18:")`)
	raw, err := chromedp.Run(b.Context(), chromedp.CaptureScreenshot())
	require.NoError(t, err)
	checkScreenshot(t, raw)
	file := filepath.Join(dir, "page.png")
	if old, err := os.ReadFile(file); err == nil && alike(t, old, raw) {
		return
	}
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(file, raw, 0o644))
}

// alike reports whether two pictures differ by no more than the browser's own rounding: it draws the edges of a button that was
// hidden at first in one of two ways.
func alike(t *testing.T, a, b []byte) bool {
	t.Helper()
	const rounding = 3 << 8 // of the 16 bits of a channel
	one, err := png.Decode(bytes.NewReader(a))
	require.NoError(t, err)
	other, err := png.Decode(bytes.NewReader(b))
	require.NoError(t, err)
	if one.Bounds() != other.Bounds() {
		return false
	}
	for y := range one.Bounds().Dy() {
		for x := range one.Bounds().Dx() {
			r1, g1, b1, _ := one.At(x, y).RGBA()
			r2, g2, b2, _ := other.At(x, y).RGBA()
			if max(r1, r2)-min(r1, r2) > rounding || max(g1, g2)-min(g1, g2) > rounding || max(b1, b2)-min(b1, b2) > rounding {
				return false
			}
		}
	}
	return true
}

func TestScreenshotOfTheReadmeExists(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	require.NoError(t, err)
	shown := regexp.MustCompile(`\]\(docs/images/([a-z-]+\.png)\)`).FindAllSubmatch(readme, -1)
	require.NotEmpty(t, shown, "README.md shows no picture")
	for _, m := range shown {
		raw, err := os.ReadFile(filepath.Join(images, string(m[1])))
		require.NoError(t, err, "make screenshots")
		checkScreenshot(t, raw)
	}
}

func checkScreenshot(t *testing.T, raw []byte) {
	t.Helper()
	picture, err := png.DecodeConfig(bytes.NewReader(raw))
	require.NoError(t, err)
	assert.Equal(t, screenshotWidth, picture.Width)
	assert.Equal(t, screenshotHeight, picture.Height)
	assert.Less(t, len(raw), maxScreenshot)
}

// stopClock lets every later page of the tab see one moment, in UTC.
func stopClock(t *testing.T, b *browser.Browser) {
	t.Helper()
	_, err := chromedp.Call(b.Context(), emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "UTC"})
	require.NoError(t, err)
	_, err = chromedp.Call(b.Context(), emulation.SetLocaleOverride, emulation.SetLocaleOverrideParams{Locale: "en-GB"})
	require.NoError(t, err)
	_, err = chromedp.Call(b.Context(), page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
		Source: fmt.Sprintf(`{ const Real = Date; const at = %d;
			Date = class extends Real { constructor(...args) { super(...(args.length ? args : [at])); } static now() { return at; } }; }`, pictured.UnixMilli()),
	})
	require.NoError(t, err)
}

// shop returns the events of a small node, as the workload of `make run` makes them: in each step those that arrive together.
func shop() [][]backendapi.Event {
	n := 0
	// container returns a container of a pod that was created some seconds before the picture.
	container := func(pod, name, image string, ago float64) placed {
		n++
		l := backendtest.NewLife(n)
		l.Name, l.Namespace, l.Created = name, "shop", pictured.Add(-time.Duration(ago*float64(time.Second)))
		return placed{l, pod, image}
	}
	web, cache := container("storefront-0", "web", "ghcr.io/shop/storefront:4.2", 3480), container("storefront-0", "cache", "docker.io/library/valkey:8.1", 3478)
	resize1, resize2 := container("image-resizer-7", "resize", "ghcr.io/shop/resizer:2.0", 2100), container("image-resizer-7", "resize", "ghcr.io/shop/resizer:2.0", 1590)
	model1, model2 := container("recommender-3", "model", "ghcr.io/shop/recommender:1.9", 3000), container("recommender-3", "model", "ghcr.io/shop/recommender:1.9", 1200)
	report, send := container("checkout-report-5", "report", "ghcr.io/shop/report:1.1", 900), container("mail-sender-5", "send", "ghcr.io/shop/mail:3.3", 640)
	batch, ship := container("legacy-batch-2", "import", "ghcr.io/shop/legacy:0.9", 1800), container("audit-log-4", "ship", "ghcr.io/shop/audit:2.2", 420)
	misconfigured, user := container("misconfigured-1", "app", "ghcr.io/shop/app:7.0", 300), container("session-9", "user", "ghcr.io/shop/session:5.1", 250)
	steps := [][]backendapi.Event{
		{web.started(2), cache.started(2)},
		{model1.started(2), model1.stopped(1790, 2, 137, "OOMKilled"), model1.removed(1799), model2.restarted(1, 1)},
		{resize1.started(1), resize1.stopped(505, 1, 3, "Error"), resize1.removed(509), resize2.restarted(1, 1)},
		{batch.started(1), batch.stopped(960, 1, 137, "Error"), report.started(1), report.stopped(72, 1, 0, "Completed")},
		{send.started(1), send.stopped(31, 1, 0, "Completed"), ship.started(1), ship.stopped(2.2, 1, 1, "Error")},
		{misconfigured.startFailed(1), user.started(1), user.stopped(190, 1, 0, "Completed"), user.removed(191)},
	}
	return append(steps, crashLoop(container)...)
}

// crashLoop returns the attempts of a container that fails again and again, each some time after the one before.
func crashLoop(container func(pod, name, image string, ago float64) placed) [][]backendapi.Event {
	const pod, name, image = "payments-0", "api", "ghcr.io/shop/payments:1.8"
	var steps [][]backendapi.Event
	for attempt, ago := range []float64{620, 590, 530, 410, 170, 18} {
		c := container(pod, name, image, ago)
		first := c.started(0.5)
		if attempt > 0 {
			first = c.restarted(0.5, uint32(attempt))
		}
		step := []backendapi.Event{first, c.stopped(8, 0.5, 1, "Error")}
		if attempt == 2 {
			loop := c.in(c.InRun(backendapi.KindCrashLoop, 8.1, 0.5))
			loop.CrashLoop = &backendapi.CrashLoop{Count: 3, ExitCode: new(uint32(1)), Reason: "Error", WindowSeconds: 600}
			step = append(step, loop)
		}
		steps = append(steps, step)
	}
	return steps
}

// placed is a life in a pod with an image.
type placed struct {
	backendtest.Life
	pod, image string
}

// in puts an event in the container's pod.
func (p placed) in(e backendapi.Event) backendapi.Event {
	e.Node = "node-1"
	e.Workload.Pod, e.Workload.PodUID, e.Workload.ImageRef = p.pod, p.pod+"-uid", p.image
	return e
}

func (p placed) started(at float64) backendapi.Event {
	e := p.in(p.Started(at))
	e.Run.RestartCount = new(uint32(0))
	return e
}

func (p placed) restarted(at float64, count uint32) backendapi.Event {
	e := p.in(p.InRun(backendapi.KindRestart, at, at))
	e.Run.RestartCount = &count
	return e
}

func (p placed) stopped(at, began float64, exitCode uint32, reason string) backendapi.Event {
	return p.in(p.Stopped(at, began, exitCode, reason))
}

func (p placed) removed(at float64) backendapi.Event {
	return p.in(p.Event(backendapi.KindRemove, at))
}

func (p placed) startFailed(at float64) backendapi.Event {
	e := p.stopped(at, at, 128, "StartError")
	e.Run.StartedAt = nil
	return e
}
