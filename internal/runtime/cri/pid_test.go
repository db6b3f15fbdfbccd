// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/zastava-otel/zastava/internal/runtime"
	"github.com/zastava-otel/zastava/internal/test/crifake"
)

func TestPIDIsReturnedOnlyWhileRunning(t *testing.T) {
	s, r := fake(t, crifake.Options{}, Options{})
	ids := s.Fill(2, 1)
	pid, err := r.PID(t.Context(), ids[0])
	require.NoError(t, err)
	assert.NotZero(t, pid)

	require.NoError(t, s.Exit(ids[1], 0, "Completed"))
	for _, verbose := range []string{"", `{"pid":4711}`} {
		require.NoError(t, s.Edit(ids[1], func(*runtimeapi.Container, *runtimeapi.ContainerStatus) string { return verbose }))
		pid, err = r.PID(t.Context(), ids[1])
		require.NoError(t, err)
		assert.Zero(t, pid, "it has none any more, whatever is remembered of it")
	}

	_, err = r.PID(t.Context(), "none")
	require.ErrorIs(t, err, runtime.ErrNotFound)
}

func TestPIDErrorsDoNotQuoteResponse(t *testing.T) {
	s, r := fake(t, crifake.Options{}, Options{})
	id := s.Fill(1, 1)[0]
	for _, verbose := range []string{
		`{"config":{"envs":["` + crifake.Canary + `"`, `{"pid":` + crifake.Canary + `}`, crifake.Canary, `{"` + crifake.Canary + `" 1}`,
	} {
		require.NoError(t, s.Edit(id, func(*runtimeapi.Container, *runtimeapi.ContainerStatus) string { return verbose }))
		_, err := r.PID(t.Context(), id)
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "canary")
	}
}

func TestPIDIsReadFromVerboseStatus(t *testing.T) {
	for name, test := range map[string]struct {
		info string
		want uint32
		bad  bool
	}{
		"containerd":         {info: `{"sandboxID":"a","pid":4711,"removing":false,"config":{"pid":1}}`, want: 4711},
		"last":               {info: `{"config":{"pid":1,"x":[{"pid":2}]},"a":[1,{"pid":3}],"s":"pid","pid":12}`, want: 12},
		"none":               {info: `{"sandboxID":"a","config":{"pid":1}}`},
		"a value called pid": {info: `{"sandboxID":"pid","other":5}`},
		"zero":               {info: `{"pid":0}`},
		"negative":           {info: `{"pid":-1}`},
		"too large":          {info: `{"pid":4294967296}`},
		"a fraction":         {info: `{"pid":1.5}`},
		"a string":           {info: `{"pid":"12"}`},
		"null":               {info: `{"pid":null}`},
		"an object":          {info: `{"pid":{"pid":1}}`, bad: true},
		"no object":          {info: `[1]`, bad: true},
		"cut":                {info: `{"sandboxID":"a"`, bad: true},
		"empty":              {bad: true},
		"deep":               {info: strings.Repeat(`{"a":`, 100000), bad: true},
		"too long":           {info: `{"a":"` + strings.Repeat("x", maxVerbose) + `","pid":1}`, bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := pidIn(test.info)
			assert.Equal(t, test.bad, err != nil)
			assert.Equal(t, test.want, got)
		})
	}
}
