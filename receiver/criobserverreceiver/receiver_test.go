// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/storagetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/zastava-otel/zastava/internal/record"
	"github.com/zastava-otel/zastava/internal/test/crifake"
	"github.com/zastava-otel/zastava/internal/test/statushost"
	"github.com/zastava-otel/zastava/receiver/criobserverreceiver/internal/metadata"
)

// fake starts a synthetic CRI server with one pod and returns the pod's id.
func fake(t *testing.T) (*crifake.Server, string) {
	t.Helper()
	s, err := crifake.Start(filepath.Join(t.TempDir(), "cri.sock"), crifake.Options{Name: "cri-o", Version: "1.36.0"})
	require.NoError(t, err)
	t.Cleanup(s.Stop)
	return s, s.RunPod("default", "web")
}

// runContainer creates and starts a container and returns its id.
func runContainer(t *testing.T, s *crifake.Server, pod, name string) string {
	t.Helper()
	id, err := s.Create(pod, name, 0)
	require.NoError(t, err)
	require.NoError(t, s.Start(id))
	return id
}

// quick returns a configuration with short intervals for a fake.
func quick(endpoint string) *Config {
	cfg := createDefaultConfig().(*Config)
	cfg.Runtimes = []RuntimeConfig{{Endpoint: endpoint}}
	cfg.PollInterval = 100 * time.Millisecond
	cfg.Timeout = 5 * time.Second
	cfg.Backoff.InitialInterval, cfg.Backoff.MaxInterval = 10*time.Millisecond, 100*time.Millisecond
	cfg.Evidence.Enabled = false // a synthetic server has no processes
	return cfg
}

func start(t *testing.T, cfg *Config, next consumer.Logs, host component.Host) component.Component {
	t.Helper()
	set := receivertest.NewNopSettings(metadata.Type)
	set.ID = component.NewID(metadata.Type) // the storage depends on the id
	r, err := NewFactory().CreateLogs(t.Context(), set, cfg, next)
	require.NoError(t, err)
	require.NoError(t, r.Start(t.Context(), host))
	t.Cleanup(func() { assert.NoError(t, r.Shutdown(context.Background())) })
	return r
}

// storageHost returns a host with one storage extension, and the extension's id.
func storageHost(t *testing.T) (component.Host, *component.ID) {
	t.Helper()
	id := storagetest.NewFileBackedStorageExtension("store", t.TempDir()).ID
	return storagetest.NewStorageHost().WithFileBackedStorageExtension("store", t.TempDir()), &id
}

// names returns the event names of all records of a sink, in order.
func names(sink *consumertest.LogsSink) []string {
	var out []string
	for _, logs := range sink.AllLogs() {
		eachRecord(logs, func(r plog.LogRecord) { out = append(out, r.EventName()) })
	}
	return out
}

func eachRecord(logs plog.Logs, f func(plog.LogRecord)) {
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, lr := range sl.LogRecords().All() {
				f(lr)
			}
		}
	}
}

func eventually(t *testing.T, what func() bool, msg string) {
	t.Helper()
	require.Eventually(t, what, 20*time.Second, 10*time.Millisecond, msg)
}

func TestContainerLifeIsReportedAsRecords(t *testing.T) {
	s, pod := fake(t)
	sink := new(consumertest.LogsSink)
	start(t, quick(s.Endpoint()), sink, componenttest.NewNopHost())
	eventually(t, func() bool { return s.Calls("ListContainers") > 0 }, "no list")
	id := runContainer(t, s, pod, "api")
	eventually(t, func() bool { return len(names(sink)) == 2 }, "started")
	require.NoError(t, s.Exit(id, 3, "Error"))
	eventually(t, func() bool { return len(names(sink)) == 3 }, "stopped")
	require.NoError(t, s.Remove(id))
	eventually(t, func() bool { return len(names(sink)) == 4 }, "removed")
	assert.Equal(t, []string{"zastava.container.created", "zastava.container.started", "zastava.container.stopped", "zastava.container.removed"}, names(sink))
}

func TestRuntimeIsObservedWhenOthersHangOrAreAbsent(t *testing.T) {
	good, pod := fake(t)
	hung, _ := fake(t)
	hung.Inject(crifake.Fault{Hang: true})
	cfg := quick(good.Endpoint())
	cfg.Timeout = 300 * time.Millisecond
	cfg.Runtimes = append(cfg.Runtimes, RuntimeConfig{Endpoint: hung.Endpoint()}, RuntimeConfig{Endpoint: "unix://" + filepath.Join(t.TempDir(), "absent.sock")})
	host := statushost.New()
	sink := new(consumertest.LogsSink)
	start(t, cfg, sink, host)
	eventually(t, func() bool { return good.Calls("ListContainers") > 0 }, "no list")
	runContainer(t, good, pod, "api")
	eventually(t, func() bool { return len(names(sink)) == 2 }, "the good runtime is observed")
	eventually(t, func() bool { return len(host.Statuses()) > 0 }, "the status of the others")
	assert.NotContains(t, host.Statuses(), componentstatus.StatusPermanentError)
	assert.Contains(t, host.Statuses(), componentstatus.StatusRecoverableError)
}

func TestRuntimeIsObservedWhenItAppearsLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cri.sock")
	host := statushost.New()
	sink := new(consumertest.LogsSink)
	start(t, quick("unix://"+path), sink, host)
	eventually(t, func() bool { return len(host.Statuses()) == 1 }, "absent")
	s, err := crifake.Start(path, crifake.Options{})
	require.NoError(t, err)
	defer s.Stop()
	s.Fill(3, 3)
	eventually(t, func() bool { return len(names(sink)) == 3 }, "inventory")
	eventually(t, func() bool { return len(host.Statuses()) == 2 }, "present")
	assert.Equal(t, []componentstatus.Status{componentstatus.StatusRecoverableError, componentstatus.StatusOK}, host.Statuses(), "changes only")
}

func TestStatusReportsAnEngineThatIsNotTheConfiguredOne(t *testing.T) {
	s, _ := fake(t)
	cfg := quick(s.Endpoint())
	cfg.Runtimes[0].Engine = EngineContainerd
	host := statushost.New()
	start(t, cfg, consumertest.NewNop(), host)
	eventually(t, func() bool { return len(host.Statuses()) == 1 }, "reported")
	require.ErrorContains(t, host.Events()[0].Err(), `engine "containerd" is configured and "cri-o" answers`)
}

func TestRestartReportsOnlyChangesWhenThereIsACheckpoint(t *testing.T) {
	s, pod := fake(t)
	host, storage := storageHost(t)
	cfg := quick(s.Endpoint())
	cfg.StorageID = storage
	sink := new(consumertest.LogsSink)
	first := start(t, cfg, sink, host)
	eventually(t, func() bool { return s.Calls("ListContainers") > 0 }, "no list")
	c := runContainer(t, s, pod, "api")
	eventually(t, func() bool { return len(names(sink)) == 2 }, "started")
	require.NoError(t, first.Shutdown(t.Context()))

	require.NoError(t, s.Exit(c, 7, "Error"))
	sink.Reset()
	start(t, cfg, sink, host)
	eventually(t, func() bool { return len(names(sink)) >= 1 }, "stopped")
	assert.Equal(t, []string{"zastava.container.stopped"}, names(sink), "what was reported before is not reported again")
	eachRecord(sink.AllLogs()[0], func(r plog.LogRecord) {
		v, _ := r.Attributes().Get(record.AttrSource)
		assert.Equal(t, "checkpoint", v.Str())
	})
}

// The configuration changes so that another runtime has the name of the first one.
func TestCheckpointOfAnotherEndpointIsIgnored(t *testing.T) {
	s, pod := fake(t)
	host, storage := storageHost(t)
	cfg := quick(s.Endpoint())
	cfg.StorageID = storage
	sink := new(consumertest.LogsSink)
	first := start(t, cfg, sink, host)
	runContainer(t, s, pod, "api")
	eventually(t, func() bool { return len(names(sink)) > 0 }, "started")
	require.NoError(t, first.Shutdown(t.Context()))

	other, _ := fake(t)
	cfg = quick(other.Endpoint())
	cfg.StorageID = storage
	sink.Reset()
	second := start(t, cfg, sink, host)
	eventually(t, func() bool { return other.Calls("ListContainers") > 2 }, "no list")
	require.NoError(t, second.Shutdown(t.Context()))
	assert.Empty(t, names(sink), "the first runtime's containers are not reported as removed")
}

func TestPlaceIsEqualForAllSpellingsOfAnEndpoint(t *testing.T) {
	for _, spelling := range []string{"/run/c.sock", "unix:///run/c.sock", "/var/run/c.sock", "unix:///var/run/c.sock"} {
		assert.Equal(t, "/run/c.sock", place(spelling))
	}
	assert.Equal(t, "npipe:////./pipe/docker_engine", place("npipe:////./pipe/docker_engine"))
	assert.Equal(t, "tcp://10.0.0.1:2376", place("tcp://10.0.0.1:2376"))
}

func TestStartFailsWhenTheStorageIsMissing(t *testing.T) {
	cfg := quick("unix:///x")
	id := component.MustNewID("file_storage")
	cfg.StorageID = &id
	r, err := NewFactory().CreateLogs(t.Context(), receivertest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.ErrorContains(t, r.Start(t.Context(), componenttest.NewNopHost()), `there is no extension "file_storage"`)
	require.NoError(t, r.Shutdown(t.Context()))
}

func TestShutdownSucceedsWithoutStart(t *testing.T) {
	r, err := NewFactory().CreateLogs(t.Context(), receivertest.NewNopSettings(metadata.Type), quick("unix:///x"), consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, r.Shutdown(t.Context()))
}

func TestRefusedRecordsAreRetriedAndDroppedOnesCounted(t *testing.T) {
	s, pod := fake(t)
	sink := new(consumertest.LogsSink)
	tel := componenttest.NewTelemetry()
	t.Cleanup(func() { assert.NoError(t, tel.Shutdown(context.Background())) })
	set := receivertest.NewNopSettings(metadata.Type)
	set.TelemetrySettings = tel.NewTelemetrySettings()
	var mu sync.Mutex
	calls := 0
	next, err := consumer.NewLogs(func(ctx context.Context, logs plog.Logs) error {
		mu.Lock()
		defer mu.Unlock()
		calls++
		switch {
		case calls <= 2:
			return errors.New("not now")
		case calls == 3:
			return consumererror.NewPermanent(errors.New("never"))
		default:
			return sink.ConsumeLogs(ctx, logs)
		}
	})
	require.NoError(t, err)
	r, err := NewFactory().CreateLogs(t.Context(), set, quick(s.Endpoint()), next)
	require.NoError(t, err)
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	eventually(t, func() bool { return s.Calls("ListContainers") > 0 }, "no list")
	_, err = s.Create(pod, "dropped", 0)
	require.NoError(t, err)
	eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return calls == 3 }, "dropped")
	_, err = s.Create(pod, "kept", 0)
	require.NoError(t, err)
	eventually(t, func() bool { return len(names(sink)) == 1 }, "kept")
	for name, want := range map[string]int64{"otelcol_criobserver_records_refused": 2, "otelcol_criobserver_records_dropped": 1} {
		m, err := tel.GetMetric(name)
		require.NoError(t, err, name)
		assert.Contains(t, fmt.Sprintf("%+v", m.Data), fmt.Sprintf("Value:%d", want), name)
	}
	require.NoError(t, r.Shutdown(t.Context()))
}

// metadata.yaml documents exactly the attributes that records have.
func TestMetadataMatchesTheSchema(t *testing.T) {
	conf := loadMetadata(t)
	var resource []string
	for _, a := range record.ResourceAttributes() {
		if a.Name[len(a.Name)-1] != '.' { // templates are documented in the README
			resource = append(resource, a.Name)
		}
	}
	assert.ElementsMatch(t, resource, keys(conf["resource_attributes"]))
	events := conf["events"].(map[string]any)
	types := record.EventTypes()
	assert.Len(t, events, len(types))
	for _, e := range types {
		documented, ok := events[e.Name].(map[string]any)
		require.True(t, ok, "%s is not documented", e.Name)
		var want []any
		for _, a := range e.Attributes {
			want = append(want, a.Name)
		}
		assert.ElementsMatch(t, want, documented["attributes"], e.Name)
	}
}
