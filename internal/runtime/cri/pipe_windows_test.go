// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestErrorsContainRemedyForPipes(t *testing.T) {
	r, err := New(Options{Endpoint: "npipe:////./pipe/nonexistent", Timeout: 5 * time.Second})
	require.NoError(t, err)
	defer r.Close()
	_, err = r.List(t.Context(), nil)
	require.ErrorContains(t, err, "the pipe does not exist")
}
