// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:generate mdatagen metadata.yaml

// Package zastavabackendexporter sends container lifecycle records as runtime events, and samples of processes as runtime facts, to
// a security backend with the API of docs/api/openapi.yaml.
//
// What it promises: no event is sent without a tenant; the same records result in the same batches with the same ids, so that the
// backend stores a repeated batch once; accepted events are not sent again, and others are for as long as the retry configuration
// says; and every event that is not delivered is counted with the reason.
//
// What it refuses: records of other origin. They are counted and skipped.
package zastavabackendexporter
