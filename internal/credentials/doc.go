// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package credentials keeps the credentials of our HTTP clients where they belong: it refuses to send them unencrypted over a network,
// or to another server than the configured one, and it masks them in texts that a server chose.
//
// What it promises: Check and Forward decide by the URL alone, without DNS. A Masker finds a credential that a server sends back as it
// is, in parts of 8 characters and more, between other punctuation, and in the encodings that servers and proxies apply to what they
// quote: JSON escapes, HTML entities, percent-encoding, base64 and hexadecimal digits.
//
// What it does not promise: a server that wants to publish our credential can always find an encoding that no filter knows.
package credentials
