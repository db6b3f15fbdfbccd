// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package browser opens pages in a real headless Chromium for tests. A script that fails, a line on the console, or a violation of the
// content policy fails the test.
package browser

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	stepTimeout = time.Minute      // of one step in the browser
	untilLimit  = 30 * time.Second // for a condition to become true
)

// Browser is a tab.
type Browser struct {
	tb  testing.TB
	ctx context.Context //nolint:containedctx // chromedp's handle of the tab
}

// Open opens a tab that is closed at the end of the test. Without a Chromium the test is skipped, or fails when
// ZASTAVA_TEST_REQUIRE_RUNTIME=1; under -short it is always skipped.
func Open(tb testing.TB) *Browser {
	tb.Helper()
	if testing.Short() {
		tb.Skip("-short: this test needs a browser")
	}
	found := find()
	if found == "" {
		const missing = "no chromium on PATH to open the page in"
		if os.Getenv("ZASTAVA_TEST_REQUIRE_RUNTIME") == "1" {
			tb.Fatal(missing)
		}
		tb.Skip(missing)
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(found), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.Flag("no-first-run", true))
	ctx, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, closeTab := chromedp.NewContext(ctx)
	tb.Cleanup(func() {
		assert.NoError(tb, chromedp.Cancel(ctx))
		closeTab()
		stop()
	})
	b := &Browser{tb, ctx}
	require.NoError(tb, chromedp.Do(ctx))
	require.NoError(tb, chromedp.Listen(ctx, func(ev any) {
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			tb.Errorf("the page's script failed: %s", ev.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			tb.Errorf("the page wrote to the console: %s", ev.Type)
		case *log.EventEntryAdded:
			tb.Errorf("the browser logged: %s", ev.Entry.Text)
		}
	}))
	_, err := chromedp.Call(ctx, log.Enable, cdp.Empty{})
	require.NoError(tb, err)
	return b
}

func find() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "headless-shell"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// Context returns chromedp's handle of the tab, for calls without a method here.
func (b *Browser) Context() context.Context { return b.ctx }

// Do runs steps, one after the other.
func (b *Browser) Do(steps ...chromedp.Action[chromedp.Void]) {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, stepTimeout)
	defer cancel()
	require.NoError(b.tb, chromedp.Do(ctx, steps...))
}

// Ask evaluates an expression in the page and returns its value.
func Ask[T any](b *Browser, expression string) T {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, stepTimeout)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	require.NoError(b.tb, err, expression)
	return v
}

// Until waits until an expression in the page is true.
func (b *Browser) Until(expression string) {
	b.tb.Helper()
	require.Eventually(b.tb, func() bool { return Ask[bool](b, expression) }, untilLimit, 50*time.Millisecond, expression)
}
