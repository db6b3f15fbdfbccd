// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package distro

import (
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/healthcheckextension"
	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/otlpexporter"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/memorylimiterprocessor"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"

	"github.com/zastava-otel/zastava/exporter/zastavabackendexporter"
	"github.com/zastava-otel/zastava/extension/zastavaauthextension"
	"github.com/zastava-otel/zastava/extension/zastavastorageextension"
	"github.com/zastava-otel/zastava/receiver/criobserverreceiver"
)

// slimFactories are the components of the slim distribution, and zastavaauth,
// which costs nothing here and is used by an example. Its telemetry is
// not among them: that package brings client-go and the SDKs of three clouds.
func slimFactories(t *testing.T) otelcol.Factories {
	t.Helper()
	var (
		f   otelcol.Factories
		err error
	)
	f.Receivers, err = otelcol.MakeFactoryMap[receiver.Factory](criobserverreceiver.NewFactory(), otlpreceiver.NewFactory())
	require.NoError(t, err)
	f.Processors, err = otelcol.MakeFactoryMap[processor.Factory](memorylimiterprocessor.NewFactory())
	require.NoError(t, err)
	f.Exporters, err = otelcol.MakeFactoryMap[exporter.Factory](zastavabackendexporter.NewFactory(), otlpexporter.NewFactory())
	require.NoError(t, err)
	f.Extensions, err = otelcol.MakeFactoryMap[extension.Factory](healthcheckextension.NewFactory(), filestorage.NewFactory(), zastavaauthextension.NewFactory(),
		zastavastorageextension.NewFactory())
	require.NoError(t, err)
	return f
}
