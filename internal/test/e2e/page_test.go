//go:build linux

// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/browser"
)

// stateOf is a function in the page: the state that the row of a container shows, or "".
const stateOf = `((name) => { for (const r of document.querySelectorAll("tbody[data-list] tr"))
	if (r.querySelector("a").textContent === name) return r.querySelector(".state").innerText.trim(); return "" })`

// TestPageShowsEveryChange starts and kills a real container. The page must show both without a reload.
func TestPageShowsEveryChange(t *testing.T) {
	c, d, pod := driverOf(t)
	s := newStack(t, c.Endpoint(), "auto")
	s.observe()
	s.observing()
	b := browser.Open(t) // after the backend, so that it is closed before
	b.Do(chromedp.Navigate(s.base + "/"))
	b.Until(`document.querySelector("#live").dataset.state === "live"`)
	require.True(t, browser.Ask[bool](b, `(window.sameDocument = true)`))

	id, err := d.Run(t.Context(), pod, privateruntime.ContainerSpec{Name: "on-the-page", Args: []string{"sleep", "3600"}})
	require.NoError(t, err)
	b.Until(stateOf + `("on-the-page") === "running"`)
	require.NoError(t, d.Signal(t.Context(), id, syscall.SIGKILL))
	b.Until(stateOf + `("on-the-page") === "failed"`)
	require.True(t, browser.Ask[bool](b, `window.sameDocument`), "without a reload")
}
