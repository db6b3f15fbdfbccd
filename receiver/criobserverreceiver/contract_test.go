// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package criobserverreceiver

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pipeline"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/record"
	"github.com/zastava-otel/zastava/internal/test/crifake"
	"github.com/zastava-otel/zastava/receiver/criobserverreceiver/internal/metadata"
)

// generator creates containers and returns the event ids that the contract checker must find.
type generator struct {
	t   *testing.T
	mu  sync.Mutex
	srv *crifake.Server
	pod string
	n   int
}

func (g *generator) Start() {
	lists := g.srv.Calls("ListContainers")
	eventually(g.t, func() bool { return g.srv.Calls("ListContainers") > lists+1 }, "the receiver makes no list")
}

func (g *generator) Stop() {}

func (g *generator) Generate() []receivertest.UniqueIDAttrVal {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n++
	id, err := g.srv.Create(g.pod, fmt.Sprintf("c%d", g.n), 0)
	require.NoError(g.t, err)
	require.NoError(g.t, g.srv.Start(id))
	life, _ := g.srv.Life(id)
	return []receivertest.UniqueIDAttrVal{
		receivertest.UniqueIDAttrVal(backendapi.EventID("cri-o", id, backendapi.KindCreate, life.Created, 0)),
		receivertest.UniqueIDAttrVal(backendapi.EventID("cri-o", id, backendapi.KindStart, life.Started, 0)),
	}
}

// identified copies the event id to the attribute that the contract checker reads.
func identified(next consumer.Logs) consumer.Logs {
	c, err := consumer.NewLogs(func(ctx context.Context, logs plog.Logs) error {
		eachRecord(logs, func(r plog.LogRecord) {
			id, _ := r.Attributes().Get(record.AttrEventID)
			r.Attributes().PutStr(receivertest.UniqueIDAttrName, id.Str())
		})
		return next.ConsumeLogs(ctx, logs)
	}, consumer.WithCapabilities(consumer.Capabilities{MutatesData: true}))
	if err != nil {
		panic(err) // only a nil function is an error
	}
	return c
}

func TestReceiverMeetsTheConsumeContract(t *testing.T) {
	s, pod := fake(t)
	product := NewFactory()
	factory := receiver.NewFactory(metadata.Type, product.CreateDefaultConfig, receiver.WithLogs(
		func(ctx context.Context, set receiver.Settings, cfg component.Config, next consumer.Logs) (receiver.Logs, error) {
			return product.CreateLogs(ctx, set, cfg, identified(next))
		}, metadata.LogsStability,
	))
	cfg := quick(s.Endpoint())
	cfg.InitialInventory = "none" // ignore the containers of earlier scenarios
	receivertest.CheckConsumeContract(receivertest.CheckConsumeContractParams{
		T: t, Factory: factory, Signal: pipeline.SignalLogs, Config: cfg,
		Generator: &generator{t: t, srv: s, pod: pod}, GenerateCount: 100,
	})
}
