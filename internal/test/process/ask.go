// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// client keeps no connections, because servers are restarted, and accepts any certificate: the server is the test's own process on
// loopback, whose certificate may be one that other clients must refuse.
var client = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
	DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
}}

// Get sends one request. The status is 0 without a complete answer.
func Get(address string) (status int, body string) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, address, http.NoBody)
	if err != nil {
		return 0, ""
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(raw)
}

// Listens reports whether something listens on a TCP address.
func Listens(address string) bool {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "tcp", address)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// Metrics is the address, host:port, of a collector's own metrics in Prometheus's format.
type Metrics string

// Port returns the address's port.
func (m Metrics) Port() string { return string(m)[strings.LastIndexByte(string(m), ':')+1:] }

// Host returns the address's host.
func (m Metrics) Host() string { return string(m)[:strings.LastIndexByte(string(m), ':')] }

// Text returns all metrics, empty when the collector does not answer.
func (m Metrics) Text() string {
	status, text := Get("http://" + string(m) + "/metrics")
	if status != http.StatusOK {
		return ""
	}
	return text
}

// Sum returns the sum of a metric over the points whose labels contain all of the texts, such as `kind="CONTAINER_STOP"`.
func (m Metrics) Sum(name string, labels ...string) (sum float64) {
	points := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + `(\{[^}]*\})? (\S+)`)
	for _, point := range points.FindAllStringSubmatch(m.Text(), -1) {
		all := true
		for _, l := range labels {
			all = all && strings.Contains(point[1], l)
		}
		if v, err := strconv.ParseFloat(point[2], 64); err == nil && all {
			sum += v
		}
	}
	return sum
}
