// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/zastava-otel/zastava/internal/backend"
)

// shutdownTimeout bounds the wait for running requests at shutdown; a batch is stored in far less.
const shutdownTimeout = 10 * time.Second

// memoryLimit is the heap, in bytes, from which on the collector works more to keep it (a soft limit: debug.SetMemoryLimit). Without it
// the heap doubles before each collection, with hostile requests to several hundred MiB. The caches of SQLite, some 70 MiB, come on top.
const memoryLimit = 160 << 20

// run serves until ctx ends, then waits for running requests and closes the database.
func run(ctx context.Context, cfg *config, log *slog.Logger) (err error) {
	tlsConfig, err := loadTLS(cfg)
	if err != nil {
		return err
	}
	listener, err := listen(ctx, cfg.listen)
	if err != nil {
		return err
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	defer listener.Close() // the server has closed it before, unless it was not started
	cfg.backend.Logger = log
	b, err := backend.New(ctx, cfg.backend)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	scheme := "http"
	if tlsConfig != nil {
		scheme = "https"
		tlsConfig.NextProtos = []string{"h2", "http/1.1"}
		listener = tls.NewListener(listener, tlsConfig)
	}
	srv := &http.Server{
		Handler:           b.Handler(),
		TLSConfig:         tlsConfig,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // faults of clients, one line each
	}
	srv.RegisterOnShutdown(b.StopStreams)
	if cfg.backend.TokenFile == "" && cfg.clientCA == "" && !cfg.backend.LocalHostOnly {
		log.Warn("Anyone who reaches this address can read and write; set --token-file or --client-ca", "address", cfg.listen)
	}
	log.Info("Serving", "url", fmt.Sprintf("%s://%s/", scheme, listener.Addr()), "db", cfg.backend.DB, "retention", cfg.backend.Retention)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve on %s: %w", cfg.listen, err)
	case <-ctx.Done():
	}
	log.Info("Stopping: waiting for running requests")
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		_ = srv.Close()
		log.Warn("Some requests were aborted; their clients will retry them", "after", shutdownTimeout)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", cfg.listen, err)
	}
	return nil
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("another process already listens on %s; stop it, or choose another address with --listen", address)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s (--listen): %w", address, err)
	}
	return l, nil
}

func loadTLS(cfg *config) (*tls.Config, error) {
	if cfg.tlsCert == "" {
		return nil, nil //nolint:nilnil // no TLS
	}
	cert, err := tls.LoadX509KeyPair(cfg.tlsCert, cfg.tlsKey)
	if err != nil {
		return nil, fmt.Errorf("load --tls-cert %s with --tls-key %s: %w", cfg.tlsCert, cfg.tlsKey, err)
	}
	out := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if cfg.clientCA == "" {
		return out, nil
	}
	pem, err := os.ReadFile(cfg.clientCA) //nolint:gosec // the user of the program names the file
	if err != nil {
		return nil, fmt.Errorf("--client-ca: %w", err)
	}
	out.ClientCAs = x509.NewCertPool()
	if !out.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--client-ca %s: holds no certificate in PEM", cfg.clientCA)
	}
	out.ClientAuth = tls.RequireAndVerifyClientCert
	return out, nil
}
