// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:generate mdatagen metadata.yaml

// Package zastavaauthextension authenticates HTTP clients of the collector with tokens of an OAuth 2.0 authorization server,
// got by client credentials (RFC 6749 section 4.4) and, if asked for, bound to a key by DPoP (RFC 9449).
//
// What it promises: start does not wait for the authorization server. A token is used until shortly before it expires and
// renewed earlier, so that a short outage of that server delays nothing. No secret, token or proof is in an error or log.
//
// What it refuses: a token of another type than was asked for. A server that knows no DPoP is an error, not a weaker token.
package zastavaauthextension
