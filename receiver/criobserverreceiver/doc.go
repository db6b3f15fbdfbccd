// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:generate mdatagen metadata.yaml

// Package criobserverreceiver is the collector receiver criobserver: it tells, as log records, what the containers of a
// node do. It configures and wires the observers of internal/observer and decides nothing itself.
package criobserverreceiver
