// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package namedpipe

import (
	"bytes"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/Microsoft/go-winio"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/Microsoft/go-winio.ioCompletionProcessor")) // started once per process, never ends
}

// echo listens on a pipe and sends all bytes back.
func echo(t *testing.T, name string) net.Listener {
	t.Helper()
	l, err := Listen(name)
	require.NoError(t, err)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		work.Wait()
	})
	return l
}

func TestServeForwardsForManyClientsAtOnce(t *testing.T) {
	name := Name(filepath.Join(`C:\`, t.Name()))
	echo(t, name)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<14) // four buffers
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			timeout := 20 * time.Second
			conn, err := winio.DialPipe(name, &timeout)
			if !assert.NoError(t, err) {
				return
			}
			defer func() { _ = conn.Close() }()
			go func() { _, _ = conn.Write(sent) }()
			got := make([]byte, len(sent))
			_, err = io.ReadFull(conn, got)
			assert.NoError(t, err)
			assert.True(t, bytes.Equal(sent, got))
		})
	}
	work.Wait()
}

func TestCloseEndsWaitingClients(t *testing.T) {
	name := Name(filepath.Join(`C:\`, t.Name()))
	l := echo(t, name)
	timeout := 20 * time.Second
	conn, err := winio.DialPipe(name, &timeout)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = conn.Write([]byte("x"))
	require.NoError(t, err)
	_, err = io.ReadFull(conn, make([]byte, 1))
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, err = io.ReadFull(conn, make([]byte, 1))
	require.Error(t, err)
	echo(t, name) // the name is free again
}
