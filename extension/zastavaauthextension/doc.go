// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:generate mdatagen metadata.yaml

// Package zastavaauthextension authenticates HTTP clients of the collector with tokens of an OAuth 2.0 authorization server. It uses
// the client credentials grant (RFC 6749 section 4.4) and can bind tokens to a key with DPoP (RFC 9449).
//
// It promises: the start does not wait for the authorization server. A token is renewed well before it expires, so that a short
// outage of that server delays no request. No error and no log line contains a secret, a token or a proof.
//
// It refuses tokens of another type than configured: a server without DPoP is an error, not a reason to use a bearer token.
package zastavaauthextension
