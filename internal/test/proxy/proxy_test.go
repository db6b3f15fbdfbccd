// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestModeShowsAtTheClient posts a body of 100 KB through each mode.
func TestModeShowsAtTheClient(t *testing.T) {
	var whole atomic.Int64 // bodies that arrived completely
	body := bytes.Repeat([]byte("0123456789"), 10_000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got, err := io.ReadAll(r.Body); err == nil && bytes.Equal(body, got) {
			whole.Add(1)
		}
		_, _ = io.WriteString(w, strings.Repeat("stored ", 100))
	}))
	defer server.Close()
	p := Start(t, Loopback, server.Listener.Addr().String())
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	post := func() (string, error) {
		resp, err := client.Post("http://"+p.Address(), "text/plain", bytes.NewReader(body))
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		said, err := io.ReadAll(resp.Body)
		return fmt.Sprintf("%d %.6s", resp.StatusCode, said), err
	}
	for _, tt := range []struct {
		mode   Mode
		answer string // empty for an error
		whole  int64
	}{
		{Pass, "200 stored", 1},
		{Refuse, "", 0},
		{Hang, "", 0},
		{Slow, "200 stored", 1},
		{CutAnswer, "", 1},
		{CutAsk, "", 0},
		{HalfClose, "", 1},
		{Storm, "429 ", 0},
		{Garbage, "", 0},
	} {
		t.Run(tt.mode.String(), func(t *testing.T) {
			before, met := whole.Load(), p.Met()
			client.Timeout = 20 * time.Second
			if tt.mode == Hang {
				client.Timeout = 200 * time.Millisecond
			}
			p.Set(tt.mode)
			said, err := post()
			if tt.mode != Storm || err == nil { // the client may still be writing when the answer comes
				assert.Equal(t, tt.answer == "", err != nil, "%s, %v", said, err)
				assert.Contains(t, said, tt.answer)
			}
			assert.Equal(t, tt.whole, whole.Load()-before)
			assert.Equal(t, tt.mode != Pass, p.Met() > met)
		})
	}
	assert.Len(t, Faults(), int(Garbage))
}

// TestCutResetsEveryConnection resets existing connections, over TCP and over Unix sockets, and then makes new ones.
func TestCutResetsEveryConnection(t *testing.T) {
	listen := func(network, address string) net.Listener {
		l, err := net.Listen(network, address)
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { // an echo
					_, _ = io.Copy(c, c)
					_ = c.Close()
				}()
			}
		}()
		return l
	}
	ways := map[string][2]string{"TCP": {Loopback, listen("tcp", Loopback).Addr().String()}}
	if runtime.GOOS != "windows" {
		dir := t.TempDir()
		unix := "unix://" + listen("unix", filepath.Join(dir, "to")).Addr().String()
		ways["Unix"], ways["TCP to Unix"] = [2]string{"unix://" + filepath.Join(dir, "at"), unix}, [2]string{Loopback, unix}
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			p := Start(t, way[0], way[1])
			network, address := parse(p.Address())
			for range 2 {
				c, err := net.Dial(network, address)
				require.NoError(t, err)
				t.Cleanup(func() { _ = c.Close() })
				_, err = io.WriteString(c, "ping")
				require.NoError(t, err)
				_, err = io.ReadFull(c, make([]byte, 4))
				require.NoError(t, err)
				p.Cut()
				_, err = c.Read(make([]byte, 1))
				if network == "tcp" && runtime.GOOS != "windows" {
					require.ErrorIs(t, err, syscall.ECONNRESET)
				} else {
					require.Error(t, err)
				}
			}
		})
	}
}

// TestConnectionIsResetWhenTheTargetIsDown also checks that a connection is forwarded once the target is up.
func TestConnectionIsResetWhenTheTargetIsDown(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	address := server.Listener.Addr().String()
	require.NoError(t, server.Listener.Close())
	p := Start(t, Loopback, address)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	_, err := client.Get("http://" + p.Address()) //nolint:bodyclose // there is none
	require.Error(t, err)
	server.Listener, err = net.Listen("tcp", address)
	require.NoError(t, err)
	server.Start()
	defer server.Close()
	resp, err := client.Get("http://" + p.Address())
	require.NoError(t, err)
	assert.Equal(t, http.StatusNotFound, resp.StatusCode)
	require.NoError(t, resp.Body.Close())
}
