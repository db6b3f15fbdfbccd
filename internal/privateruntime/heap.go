// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
)

var heapPattern = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`)

// Heap returns the size of the daemon's heap in bytes, after a garbage collection that this call requests.
func (c *Containerd) Heap(ctx context.Context) (uint64, error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(c.dir, "d.sock"))
	}}
	heap, err := func() (uint64, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://containerd/debug/pprof/heap?gc=1&debug=1", http.NoBody)
		if err != nil {
			return 0, err
		}
		answer, err := (&http.Client{Transport: transport}).Do(request)
		if err != nil {
			return 0, err
		}
		defer func() { _ = answer.Body.Close() }()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			return 0, err
		}
		m := heapPattern.FindSubmatch(text)
		if m == nil {
			return 0, errors.New("the profile has no HeapAlloc")
		}
		return strconv.ParseUint(string(m[1]), 10, 64)
	}()
	if err != nil {
		return 0, fmt.Errorf("read containerd's heap profile: %w", err)
	}
	return heap, nil
}
