// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/container"
	"github.com/zastava-otel/zastava/internal/tracker"
)

// TestRecordOnDiskKeepsItsBytes has every field that a record can have. Checkpoints that older versions wrote must stay readable.
func TestRecordOnDiskKeepsItsBytes(t *testing.T) {
	const want = `{"n":"api","c":1778051289000000010,"a":3,"s":"=sb","ns":"payments","p":"api-7","u":"uid-1","cp":["shop","web","1"],"os":"linux",` +
		`"i":"app:1","ii":"#q80","rd":["app@1"],"d":".q80","l":{"a":"b"},"an":{"c":"d"},` +
		`"st":4,"rs":1778051289000000010,"rf":1778051290000000010,"x":137,"r":"OOMKilled","o":true,"pid":123456,` +
		`"rc":3,"rv":1,"pa":1,"om":2,"h":"healthy","hn":3,"lp":{"e":[{"t":1778051289000000010,"c":137,"r":"OOMKilled"}],"n":1,"a":true}}`
	k := typical(1)
	k.Container = &container.Container{
		Engine: "containerd", Runtime: "main", ID: "id", Name: "api", CreatedAt: seen, Attempt: 3,
		Platform: container.Platform{OS: "linux"},
		Pod:      container.Pod{SandboxID: "sb", Namespace: "payments", Name: "api-7", UID: "uid-1"},
		Compose:  container.Compose{Project: "shop", Service: "web", Number: "1"},
		Image:    container.Image{Reference: "app:1", ID: "sha256:abcd", RepoDigests: []string{"app@1"}, ManifestDigest: "abcd"},
		Labels:   map[string]string{"a": "b"}, Annotations: map[string]string{"c": "d"},
	}
	k.Pauses, k.OOMs, k.Health, k.Healths = 1, 2, "healthy", 3
	k.CrashLoop = &tracker.CrashLoop{Ends: k.CrashLoop.Ends, Count: 1, Active: true}

	raw, err := encode(k)
	require.NoError(t, err)
	assert.Equal(t, want, string(raw)) //nolint:testifylint // the bytes are the format, not only their meaning
	got, err := decode("id", meta{Engine: "containerd", Runtime: "main"}, []byte(want))
	require.NoError(t, err)
	assert.Equal(t, k, got)
}
