// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package privateruntime runs a real, private containerd and plays scripted container lives on it, for the demo, the end-to-end
// tests and the benchmarks.
//
// A private containerd shares only the directories /run/containerd/s and /run/containerd/runc with the system's, where ids are
// unique. Several can run at once. It needs no registry, CNI plugin or crictl. Wipe leaves no process, mount, cgroup, namespace or
// file. The package does not pull images, does not give pods an address of their own, and needs root.
//
// On anything but Linux the package is empty.
//
//	c, err := privateruntime.Start(ctx, privateruntime.Options{Dir: "/tmp/zst"})
//	if err != nil {
//		return err // it names what is missing where errors.Is(err, privateruntime.ErrUnavailable)
//	}
//	defer func() { err = errors.Join(err, c.Wipe(context.WithoutCancel(ctx))) }()
//
//	driver := c.Driver()
//	pod, err := driver.RunPod(ctx, privateruntime.PodSpec{Name: "web", Namespace: "shop"})
//	...
//	id, err := driver.Run(ctx, pod, privateruntime.ContainerSpec{Name: "api", Args: []string{"exit", "3"}})
//	...
//	record, err := driver.Wait(ctx, id) // record.ExitCode == 3, record.Reason == "Error"
//
// In a test, realruntime.Containerd replaces the first five lines. Lives returns the ways to end, and Driver.Play plays one of them.
// Containerd.Kill, Restart, Freeze and Thaw are the daemon's own faults.
package privateruntime
