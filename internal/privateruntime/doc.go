// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package privateruntime runs a real, private containerd and plays scripted
// container lives on it. The end-to-end tests, the demo and the benchmarks use
// it.
//
// It promises that a private containerd shares nothing with the system's but
// the directories /run/containerd/s and /run/containerd/runc, where ids are
// unique; that several can run at once; that no registry, CNI plugin or crictl
// is needed; and that Wipe leaves no process, mount, cgroup, namespace or
// file. It refuses to pull images, to give pods an address of their own, and
// to run where it is not root.
//
// On anything but Linux the package is empty.
//
//	c, err := privateruntime.Start(ctx, privateruntime.Options{Dir: "/tmp/zst"})
//	if err != nil {
//		return err // errors.Is(err, privateruntime.ErrUnavailable): it says what is missing
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
// In a test, ForTest does the first five lines. Lives has the ways to end, and
// Driver.Play plays one of them. Containerd.Kill, Restart, Freeze and Thaw
// are the daemon's own misfortunes.
package privateruntime
