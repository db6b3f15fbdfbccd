// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/zastava-otel/zastava/cmd/zastava-demo/internal/child"
	"github.com/zastava-otel/zastava/cmd/zastava-demo/internal/feed"
	"github.com/zastava-otel/zastava/cmd/zastava-demo/internal/workload"
	"github.com/zastava-otel/zastava/internal/backendapi"
	"github.com/zastava-otel/zastava/internal/privateruntime"
)

const (
	startLimit = 60 * time.Second // for each part to come up, on a slow machine
	stopGrace  = 10 * time.Second // for a child to stop by itself
	wipeLimit  = 90 * time.Second
)

// demo has the parts that were started, which end stops in order.
type demo struct {
	options
	out  io.Writer
	home *home

	containerd *privateruntime.Containerd // nil if the demo observes an existing runtime
	endpoint   string
	backend    *child.Child
	collector  *child.Child

	// The workload and the feed run until stopPlay is called; each sends once.
	stopPlay context.CancelFunc
	played   chan error
	followed chan error
	client   *http.Client
}

// run runs the demo. It returns after ctx is done, the time is over, or a part has failed, and everything is stopped and wiped.
func run(ctx context.Context, o options, out io.Writer) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	swept, err := sweep(ctx, os.TempDir())
	if err != nil {
		return fmt.Errorf("clean up after an earlier run: %w", err)
	}
	if swept > 0 {
		fmt.Fprintf(out, "Cleaned up after %d earlier run(s) that had been killed.\n", swept)
	}
	d := &demo{options: o, out: out, client: &http.Client{}}
	if d.home, err = newHome(os.TempDir()); err != nil {
		return err
	}
	err = d.start(ctx)
	if err == nil {
		err = d.watch(ctx)
	}
	if ctx.Err() != nil {
		err = nil // what failed because of Ctrl-C is no fault
	}
	return d.end(err)
}

// start starts the runtime, the backend, the feed, the collector and the workload, in this order: each needs the one before.
func (d *demo) start(ctx context.Context) error {
	if err := d.startRuntime(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("it did not answer within %s", startLimit))
	defer cancel()
	if err := d.startBackend(ctx); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\n  Page: %s/   (Ctrl-C ends the demo)\n\n", d.url())

	// Independent of ctx: the feed continues while the collector delivers its last events, and end stops both.
	play, stop := context.WithCancel(context.WithoutCancel(ctx))
	d.stopPlay = stop
	d.followed = make(chan error, 1)
	go func() {
		// From the first event: the database is new and belongs to this run.
		colored := isTerminal(d.out) && os.Getenv("NO_COLOR") == ""
		d.followed <- feed.Follow(play, d.client, d.url()+backendapi.EventsPath+"/stream", "0", func(e backendapi.Event) {
			fmt.Fprintln(d.out, feed.Line(&e, colored))
		})
	}()
	if err := d.startCollector(ctx); err != nil {
		return err
	}
	if d.containerd != nil {
		driver := d.containerd.Driver()
		d.played = make(chan error, 1)
		go func() { d.played <- workload.Play(play, driver) }()
	}
	return nil
}

func (d *demo) startRuntime(ctx context.Context) error {
	if d.options.endpoint != "" {
		f, err := ask(ctx, d.options.endpoint)
		if err != nil {
			return err
		}
		d.observe(f)
		return nil
	}
	if !d.private {
		f, err := findRuntime(ctx, wellKnownSockets)
		if f != nil {
			d.observe(*f)
			return nil
		}
		if err != nil {
			return err
		}
	}
	if err := ensureRuntime(ctx, d.home.path("apt.log"), d.out); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("it did not answer within %s", startLimit))
	defer cancel()
	c, err := privateruntime.Start(ctx, privateruntime.Options{Dir: d.home.containerd()})
	if err != nil {
		return err
	}
	d.containerd, d.endpoint = c, c.Endpoint()
	fmt.Fprintf(d.out, "Started a private containerd %s with a small demo workload. Nothing else on this machine is touched.\n", c.Version())
	return nil
}

func (d *demo) observe(f found) {
	d.endpoint = f.endpoint
	fmt.Fprintf(d.out, "Observing %s %s at %s. The demo changes nothing there and shows what happens to its containers.\n", f.engine, f.version, f.endpoint)
}

func (d *demo) startBackend(ctx context.Context) (err error) {
	d.backend, err = child.Start("backend", d.home.path("backend.log"), d.options.backend,
		[]string{"--listen", d.address(), "--db", d.home.path("zastava.db")}, nil)
	if err != nil {
		return err
	}
	for _, path := range []string{"/healthz", "/"} {
		if err := d.backend.WaitOK(ctx, d.client, d.url()+path); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) startCollector(ctx context.Context) error {
	ports, err := freePorts(2)
	if err != nil {
		return err
	}
	health := "127.0.0.1:" + strconv.Itoa(ports[0])
	d.collector, err = child.Start("collector", d.home.path("collector.log"), d.options.collector,
		[]string{"--config", d.config}, []string{
			"ZASTAVA_ENDPOINT=" + d.url(),
			"ZASTAVA_RUNTIME_ENDPOINT=" + d.endpoint,
			"ZASTAVA_CALLGRAPH_ID=demo", // the reference backend accepts any value, and shows facts
			"ZASTAVA_TENANT=demo",
			"ZASTAVA_STORAGE_DIR=" + d.home.path("storage"),
			"ZASTAVA_HEALTH_ENDPOINT=" + health,
			"ZASTAVA_METRICS_PORT=" + strconv.Itoa(ports[1]),
		})
	if err != nil {
		return err
	}
	return d.collector.WaitOK(ctx, d.client, "http://"+health+"/")
}

func (d *demo) url() string { return "http://" + d.address() }

// watch waits until ctx is done, the time is over, or a part fails.
func (d *demo) watch(ctx context.Context) error {
	var over <-chan time.Time
	if d.duration > 0 {
		timer := time.NewTimer(d.duration)
		defer timer.Stop()
		over = timer.C
	}
	var containerdEnded <-chan struct{}
	if d.containerd != nil {
		containerdEnded = d.containerd.Ended()
	}
	select {
	case <-ctx.Done():
		return nil
	case <-over:
		return nil
	case <-d.backend.Ended():
		return d.backend.Fault()
	case <-d.collector.Ended():
		return d.collector.Fault()
	case <-containerdEnded:
		return fmt.Errorf("the private containerd ended by itself; its log ends with:\n%s", d.containerd.LogTail(15))
	case err := <-d.played:
		d.played = nil // end must not wait for it
		return err
	}
}

// end stops everything that was started and removes it. It returns fault joined with the errors of stopping. The logs stay if there is
// an error.
func (d *demo) end(fault error) error {
	if d.containerd != nil || d.backend != nil {
		fmt.Fprintln(d.out, "\nStopping and cleaning up.")
	}
	failed := []error{fault}
	if d.collector != nil {
		failed = append(failed, d.collector.Stop(stopGrace))
	}
	if d.backend != nil {
		failed = append(failed, d.backend.Stop(stopGrace))
	}
	if d.stopPlay != nil {
		d.stopPlay()
		failed = append(failed, <-d.followed)
		if d.played != nil {
			failed = append(failed, <-d.played)
		}
	}
	d.client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), wipeLimit)
	defer cancel()
	if d.containerd != nil {
		failed = append(failed, d.containerd.Wipe(ctx))
	} else if _, err := os.Lstat(d.home.containerd()); err == nil { // its start failed
		failed = append(failed, privateruntime.WipeDir(ctx, d.home.containerd()))
	}
	err := errors.Join(failed...)
	kept, closeErr := d.home.close(err != nil)
	if err = errors.Join(err, closeErr); err != nil {
		if kept {
			err = fmt.Errorf("%w\nThe logs are in %s", err, d.home.dir)
		}
		return err
	}
	fmt.Fprintln(d.out, "Stopped. Everything that the demo created is removed.")
	return nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	s, err := f.Stat()
	return err == nil && s.Mode()&os.ModeCharDevice != 0
}
