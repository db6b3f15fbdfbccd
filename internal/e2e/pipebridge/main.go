// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build windows

// Pipebridge serves a named pipe and forwards each of its clients to a TCP address of its own, for tests: it stands where
// the Docker Engine of a Windows host serves its pipe, with a real engine behind it.
//
//	pipebridge -pipe \\.\pipe\docker_engine -to 127.0.0.1:4243
//
// It writes "ready" once the pipe is there and lives until it is killed. Its calls are plain blocking ones, one thread for each
// direction of a client: Wine 8 completes no asynchronous ConnectNamedPipe, which is what the listener of go-winio waits for.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/windows"
)

// bufferSize of the pipe, in bytes for each direction.
const bufferSize = 64 << 10

func main() {
	name := flag.String("pipe", `\\.\pipe\docker_engine`, "name of the pipe to serve")
	to := flag.String("to", "", "host:port that each client is forwarded to")
	flag.Parse()
	if *to == "" {
		fmt.Fprintln(os.Stderr, "pipebridge: -to is empty; name the host:port to forward to")
		os.Exit(2)
	}
	if err := serve(*name, *to); err != nil {
		fmt.Fprintln(os.Stderr, "pipebridge:", err)
		os.Exit(1)
	}
}

// serve makes one instance of the pipe after the other. The next one is there before the client of this one is served.
func serve(name, to string) error {
	first := uint32(windows.FILE_FLAG_FIRST_PIPE_INSTANCE) // fails where somebody else serves the pipe already
	for {
		p, err := newInstance(name, first)
		if err != nil {
			return err
		}
		if first != 0 {
			fmt.Println("ready")
			first = 0
		}
		if err := windows.ConnectNamedPipe(p.handle, nil); err != nil && !errors.Is(err, windows.ERROR_PIPE_CONNECTED) {
			return fmt.Errorf("wait for a client of %s: %w", name, err)
		}
		go p.forward(to)
	}
}

// instance is one end of a pipe, for one client.
type instance struct{ handle windows.Handle }

func newInstance(name string, flags uint32) (instance, error) {
	path, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return instance{}, fmt.Errorf("name the pipe %q: %w", name, err)
	}
	h, err := windows.CreateNamedPipe(path, windows.PIPE_ACCESS_DUPLEX|flags,
		windows.PIPE_TYPE_BYTE|windows.PIPE_READMODE_BYTE|windows.PIPE_WAIT|windows.PIPE_REJECT_REMOTE_CLIENTS,
		windows.PIPE_UNLIMITED_INSTANCES, bufferSize, bufferSize, 0, nil)
	if err != nil {
		return instance{}, fmt.Errorf("make an instance of the pipe %s: %w", name, err)
	}
	return instance{handle: h}, nil
}

// forward carries bytes both ways until either side has no more, and ends the instance.
func (p instance) forward(to string) {
	defer func() { _ = windows.CloseHandle(p.handle) }()
	conn, err := net.Dial("tcp", to)
	if err != nil {
		fmt.Fprintln(os.Stderr, "pipebridge: the client is turned away:", err)
		_ = windows.DisconnectNamedPipe(p.handle)
		return
	}
	sent := make(chan struct{})
	go func() {
		_, _ = io.Copy(conn, p) // until the client closes the pipe, or the far side the connection
		_ = conn.Close()
		close(sent)
	}()
	_, _ = io.Copy(p, conn)
	_ = windows.FlushFileBuffers(p.handle) // what was written is lost at the disconnection otherwise
	_ = windows.DisconnectNamedPipe(p.handle)
	_ = conn.Close()
	<-sent
}

// Read gives what the client wrote; its end of the pipe closed is the end.
func (p instance) Read(b []byte) (int, error) {
	var n uint32
	err := windows.ReadFile(p.handle, b, &n, nil)
	if err != nil {
		if errors.Is(err, windows.ERROR_BROKEN_PIPE) || errors.Is(err, windows.ERROR_PIPE_NOT_CONNECTED) || errors.Is(err, windows.ERROR_NO_DATA) {
			return int(n), io.EOF
		}
		return int(n), fmt.Errorf("read from the pipe: %w", err)
	}
	return int(n), nil
}

// Write hands b to the client.
func (p instance) Write(b []byte) (int, error) {
	for done := 0; done < len(b); {
		var n uint32
		if err := windows.WriteFile(p.handle, b[done:], &n, nil); err != nil {
			return done, fmt.Errorf("write to the pipe: %w", err)
		}
		done += int(n)
	}
	return len(b), nil
}
