// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package namedpipe serves named pipes for tests on Windows, Wine's included: Wine 8 completes no asynchronous
// ConnectNamedPipe, which is what the listener of go-winio waits for. On anything but Windows the package is empty.
package namedpipe
