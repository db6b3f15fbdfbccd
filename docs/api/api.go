// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package api embeds the document of the backend API, so that the reference backend serves and enforces the file that people read.
package api

import _ "embed"

// OpenAPI is openapi.yaml: the OpenAPI 3.1 document of the backend API. Must not be changed.
//
//go:embed openapi.yaml
var OpenAPI []byte
