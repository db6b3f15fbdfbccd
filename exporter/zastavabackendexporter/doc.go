// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:generate mdatagen metadata.yaml

// Package zastavabackendexporter sends container lifecycle records as runtime events to a security backend that speaks
// the API in docs/api/openapi.yaml.
//
// What it promises: an event leaves with a tenant or not at all; the same records make the same batches with the same
// ids, so that a repeated batch is stored once; what was accepted is not sent again, what was not is, for as long as the
// retry configuration says; and every event that is not delivered is counted with the reason.
//
// What it refuses: records of other origin. They are counted and left out.
package zastavabackendexporter
