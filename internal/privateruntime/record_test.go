// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/realruntime"
)

func TestReconcileAddsAndRemovesRecordsAfterLostAnswers(t *testing.T) {
	c := realruntime.Containerd(t)
	d, other := c.Driver(), c.Driver()
	pod, err := d.RunPod(t.Context(), privateruntime.PodSpec{Name: "cut-off"})
	require.NoError(t, err)
	kept, err := d.Create(t.Context(), pod, privateruntime.ContainerSpec{Name: "kept"})
	require.NoError(t, err)
	gone, err := d.Create(t.Context(), pod, privateruntime.ContainerSpec{Name: "gone"})
	require.NoError(t, err)
	unrecorded, err := other.Run(t.Context(), pod, privateruntime.ContainerSpec{Name: "unrecorded", Args: []string{"exit", "3"}})
	require.NoError(t, err)
	_, err = other.Wait(t.Context(), unrecorded)
	require.NoError(t, err)
	before := time.Now()
	require.NoError(t, other.Reconcile(t.Context()))
	require.NoError(t, other.Remove(t.Context(), gone))

	require.NoError(t, d.Reconcile(t.Context()))
	r, ok := d.Record(unrecorded)
	require.True(t, ok)
	assert.Equal(t, privateruntime.End{ExitCode: 3, Reason: "Error"}, privateruntime.End{ExitCode: r.ExitCode, Reason: r.Reason})
	assert.Equal(t, pod.UID, r.PodUID)
	r, _ = d.Record(gone)
	assert.False(t, r.RemovingAt.After(before), "it existed at the last call about it")
	assert.True(t, r.RemovedAt.After(before))
	r, _ = d.Record(kept)
	assert.Zero(t, r.RemovedAt)
}

func TestRemoveWorksAgainAfterALostAnswer(t *testing.T) {
	c := realruntime.Containerd(t)
	d := c.Driver()
	pod, err := d.RunPod(t.Context(), privateruntime.PodSpec{Name: "cut-off"})
	require.NoError(t, err)
	id, err := d.Create(t.Context(), pod, privateruntime.ContainerSpec{Name: "removed"})
	require.NoError(t, err)
	require.NoError(t, d.Remove(t.Context(), id))
	first, _ := d.Record(id)
	d.ForgetRemoval(id) // the answer was lost
	require.NoError(t, d.Remove(t.Context(), id))
	r, _ := d.Record(id)
	assert.Equal(t, first.RemovingAt, r.RemovingAt)
	assert.False(t, r.RemovedAt.IsZero())
	require.Error(t, d.Remove(t.Context(), "never-was"))
}
