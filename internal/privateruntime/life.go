// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime

import (
	"context"
	"syscall"
	"time"
)

// Life is the script of one container, from its creation to its end.
type Life struct {
	Name        string
	Command     []string // default: the probe program
	Args        []string
	MemoryLimit int64 // bytes

	// At most one of these ends a life that does not end by itself, once the probe program handles signals.
	Stop   time.Duration  // the grace period of a stop
	Signal syscall.Signal // sent to the main process

	Expect End
}

// Lives returns the ways in which a container ends, with the end that CRI reports for each on containerd 1.6, 1.7 and 2.x.
func Lives() []Life {
	const small = 32 << 20
	return []Life{
		{Name: "completes", Args: []string{"exit", "0"}, Expect: End{0, "Completed"}},
		{Name: "lives-50ms", Args: []string{"sleepms", "50"}, Expect: End{0, "Completed"}},
		{Name: "fails", Args: []string{"exit", "3"}, Expect: End{3, "Error"}},
		{Name: "panics", Args: []string{"panic"}, Expect: End{2, "Error"}},
		{Name: "segfaults", Args: []string{"segv"}, Expect: End{139, "Error"}},
		{Name: "out-of-memory", Args: []string{"oom", "4"}, MemoryLimit: small, Expect: End{137, "OOMKilled"}},
		{Name: "stopped-cleanly", Args: []string{"pause"}, Stop: 10 * time.Second, Expect: End{0, "Completed"}},
		{Name: "stopped-by-term", Args: []string{"sleep", "3600"}, Stop: 10 * time.Second, Expect: End{143, "Error"}},
		{Name: "stopped-stubborn", Args: []string{"stubborn"}, Stop: time.Second, Expect: End{137, "Error"}},
		{Name: "killed", Args: []string{"pause"}, Signal: syscall.SIGKILL, Expect: End{137, "Error"}},
		{Name: "no-such-command", Command: []string{"/no/such/command"}, Expect: End{128, "StartError"}},
	}
}

// Spec returns the container of this life.
func (l Life) Spec() ContainerSpec {
	return ContainerSpec{Name: l.Name, Command: l.Command, Args: l.Args, MemoryLimit: l.MemoryLimit, Expect: l.Expect}
}

// Play plays the life in pod to its end and returns the record. The ended container stays until it is removed.
func (d *Driver) Play(ctx context.Context, pod *Pod, life Life, attempt uint32) (Record, error) {
	spec := life.Spec()
	spec.Attempt = attempt
	id, err := d.Create(ctx, pod, spec)
	if err != nil {
		return Record{}, err
	}
	if err := d.Start(ctx, id); err != nil && life.Expect.Reason != "StartError" {
		return Record{}, err
	}
	if life.Stop > 0 || life.Signal != 0 {
		if err := d.Ready(ctx, id); err != nil {
			return Record{}, err
		}
	}
	switch {
	case life.Stop > 0:
		err = d.Stop(ctx, id, life.Stop)
	case life.Signal != 0:
		err = d.Signal(ctx, id, life.Signal)
	}
	if err != nil {
		return Record{}, err
	}
	return d.Wait(ctx, id)
}
