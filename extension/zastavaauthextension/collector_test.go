// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package zastavaauthextension

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configauth"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configoptional"
)

// The client is built like those of exporters. It sends its compressed body again if the resource requires a nonce.
func TestCollectorClientRepeatsTheBodyWhenANonceIsRequired(t *testing.T) {
	w := newWorld(t, true)
	w.resProof.require("n")
	r := newRig(t, w)
	id := component.NewID(NewFactory().Type())
	cfg := confighttp.NewDefaultClientConfig()
	cfg.Compression = "gzip"
	cfg.Auth = configoptional.Some(configauth.Config{AuthenticatorID: id})
	client, err := cfg.ToClient(t.Context(), map[component.ID]component.Component{id: r.authenticator}, componenttest.NewNopTelemetrySettings())
	require.NoError(t, err)
	defer client.CloseIdleConnections()
	for range 2 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.resource.URL+"/events", strings.NewReader("payload"))
		require.NoError(t, err)
		resp, err := client.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusNoContent, resp.StatusCode)
	}
	assert.Equal(t, []string{"use_dpop_nonce"}, w.refusals)
	require.Len(t, w.bodies, 2)
	for _, body := range w.bodies {
		unzip, err := gzip.NewReader(bytes.NewReader([]byte(strings.TrimPrefix(body, http.MethodPost))))
		require.NoError(t, err)
		raw, err := io.ReadAll(unzip)
		require.NoError(t, err)
		assert.Equal(t, "payload", string(raw))
	}
}
