// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:generate mdatagen metadata.yaml

// Package criobserverreceiver is the collector receiver criobserver. It reports as log records what the containers of a node
// do. It configures and connects the observers of internal/observer and makes no decision of its own.
package criobserverreceiver
