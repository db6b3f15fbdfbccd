// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/package-url/packageurl-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zastava-otel/zastava/internal/evidence"
	"github.com/zastava-otel/zastava/internal/privateruntime"
	"github.com/zastava-otel/zastava/internal/test/realruntime"
)

// truth is a real containerd with images of several languages, and one sampler for all its containers.
type truth struct {
	d       *privateruntime.Driver
	pod     *privateruntime.Pod
	dir     string // with programs built for the images
	sampler *Sampler
	dlopen  live // opens a library after five seconds
}

func newTruth(t *testing.T) *truth {
	t.Helper()
	need(t, "gcc", "readelf", "sha256sum", "ldd", "busybox", "go")
	t.Parallel()
	c := realruntime.Containerd(t)
	x := &truth{d: c.Driver(), dir: t.TempDir()}
	gostatic := built(t, x.dir, "gostatic")
	app, plugin := filepath.Join(x.dir, "dlopen"), filepath.Join(x.dir, "libplugin.so")
	output(t, "gcc", "-o", app, "testdata/dlopen.c", "-ldl", "-Wl,--build-id")
	output(t, "gcc", "-shared", "-fPIC", "-DPLUGIN", "-o", plugin, "testdata/dlopen.c", "-Wl,--build-id")
	busybox, err := exec.LookPath("busybox")
	require.NoError(t, err)
	shell := append(program(t, busybox, "/bin/busybox"), privateruntime.ImageFile{Path: "/bin/sh", Link: "busybox"},
		privateruntime.ImageFile{Path: "/app/serve.sh", Content: []byte("#!/bin/sh\nwhile true; do /bin/busybox sleep 1000; done\n")})
	usr := []privateruntime.ImageFile{
		{Path: "/lib", Link: "usr/lib"}, {Path: "/lib64", Link: "usr/lib64"}, {Path: "/bin", Link: "usr/bin"}, {Path: "/usr/.keep", Content: []byte("x")},
	}
	imported(
		t, c,
		privateruntime.ImageSpec{Name: "zastava.local/go:1", Entrypoint: []string{"/app"}, Files: []privateruntime.ImageFile{{Path: "/app", Source: gostatic}}},
		privateruntime.ImageSpec{Name: "zastava.local/c:1", Entrypoint: []string{"/app"}, Files: append(program(t, app, "/app"), privateruntime.ImageFile{Path: "/opt/plugins/libplugin.so", Source: plugin})},
		privateruntime.ImageSpec{Name: "zastava.local/sh:1", Entrypoint: []string{"/app/serve.sh", "--password=hunter2"}, Files: shell},
		privateruntime.ImageSpec{Name: "zastava.local/usr:1", Files: usr},
	)
	grown(t, time.Now())
	x.pod, err = x.d.RunPod(t.Context(), privateruntime.PodSpec{Name: "truth"})
	require.NoError(t, err)
	// It starts first, because it takes five seconds.
	x.dlopen = run(t, x.d, x.pod, privateruntime.ContainerSpec{Name: "c", Image: "zastava.local/c:1"})
	x.sampler = samplerFor(t, testConfig())
	return x
}

func (x *truth) run(t *testing.T, spec privateruntime.ContainerSpec) live {
	t.Helper()
	return run(t, x.d, x.pod, spec)
}

// sample takes a sample, and compares it with what other tools report.
func (x *truth) sample(t *testing.T, l live) evidence.Sample {
	t.Helper()
	sample, err := x.sampler.Sample(t.Context(), l.target())
	require.NoError(t, err)
	checkSample(t, l.pid, sample)
	return sample
}

// TestSamplesMatchOtherTools compares samples of real containers with what other tools report of the same processes and files.
func TestSamplesMatchOtherTools(t *testing.T) {
	x := newTruth(t)
	x.dlopen.mapped(t, "libc.so")
	before := x.sample(t, x.dlopen)
	assert.Equal(t, evidence.KindExecutable, kindOf(before, "/app"))
	assert.Empty(t, kindOf(before, "/opt/plugins/libplugin.so"), "not opened yet")

	t.Run("static Go", x.staticGo)
	t.Run("shell script", x.shellScript)
	t.Run("Python with extensions", x.pythonWithExtensions)
	t.Run("Java", x.java)

	x.dlopen.mapped(t, "libplugin.so")
	after := x.sample(t, x.dlopen)
	assert.Equal(t, evidence.KindLibrary, kindOf(after, "/opt/plugins/libplugin.so"))
	assert.Equal(t, len(after.Files)-1, after.Coverage.FromCache, "only the library is new")
	for _, f := range after.Files {
		assert.Equal(t, evidence.StatusNone, f.Package.Status, "it is off by default")
	}

	t.Run("owners of files", x.ownersOfFiles)
	t.Run("without map_files", func(t *testing.T) { // as without CAP_CHECKPOINT_RESTORE
		s := samplerFor(t, testConfig())
		s.kernel.noMapFiles.Store(true)
		sample, err := s.Sample(t.Context(), x.dlopen.target())
		require.NoError(t, err)
		checkSample(t, x.dlopen.pid, sample)
		assert.Equal(t, after.Files, sample.Files)
	})
	t.Run("two containers of an image are hashed once", x.secondContainerOfImage)
	t.Run("a container that has ended", x.endedContainer)
}

func (x *truth) staticGo(t *testing.T) {
	l := x.run(t, privateruntime.ContainerSpec{Name: "go", Image: "zastava.local/go:1"})
	l.mapped(t, "/app")
	sample, err := x.sampler.Sample(t.Context(), l.target())
	require.NoError(t, err)
	checkSample(t, l.pid, sample)
	require.Len(t, sample.Files, 1)
	require.Len(t, sample.Processes, 1)
	assert.Equal(t, evidence.Present([]string{"/app"}), sample.Processes[0].Arguments)
	assert.WithinDuration(t, time.Now(), sample.Processes[0].StartedAt, time.Minute)
	modules := sample.Files[0].Go.Value.Modules
	assert.True(t, slices.ContainsFunc(modules, func(m evidence.GoModule) bool { return strings.HasPrefix(m.PURL(), "pkg:golang/golang.org/x/time@v") }))
}

func (x *truth) shellScript(t *testing.T) {
	l := x.run(t, privateruntime.ContainerSpec{Name: "sh", Image: "zastava.local/sh:1"})
	l.opened(t, "/app/serve.sh")
	var sample evidence.Sample
	until(t, "the shell's child", func() bool {
		var err error
		sample, err = x.sampler.Sample(t.Context(), l.target())
		return err == nil && len(sample.Processes) == 2 && sample.Processes[1].Executable == evidence.Present("/bin/busybox") &&
			sample.Processes[1].Arguments.Value[1] == "sleep"
	})
	checkSample(t, l.pid, sample)
	assert.Equal(t, evidence.KindScript, kindOf(sample, "/app/serve.sh"))
	assert.Equal(t, evidence.KindExecutable, kindOf(sample, "/bin/busybox"))
	assert.Len(t, sample.Files, 2)
	assert.Equal(t, evidence.Present([]string{"/bin/sh", "/app/serve.sh", "--password=***"}), sample.Processes[0].Arguments)
	assert.True(t, sample.Processes[0].Main)
	assert.False(t, sample.Processes[1].Main)
}

func (x *truth) pythonWithExtensions(t *testing.T) {
	need(t, "/usr/bin/python3")
	l := x.run(t, privateruntime.ContainerSpec{
		Name: "python", Image: "zastava.local/usr:1", Mounts: map[string]string{"/usr": "/usr"},
		Command: []string{"/usr/bin/python3", "-c", "import _json, _lsprof, _bz2, time; print('up'); time.sleep(1e6)"},
	})
	l.mapped(t, "_bz2")
	l.mapped(t, "libbz2")
	sample := l.steady(t, x.sampler)
	checkSample(t, l.pid, sample)
	extensions := 0
	for _, f := range sample.Files {
		if f.Kind == evidence.KindExtension {
			assert.Contains(t, f.Path, "lib-dynload")
			extensions++
		}
	}
	assert.Positive(t, extensions)
}

func (x *truth) java(t *testing.T) {
	need(t, "java", "javac", "jar")
	output(t, "javac", "-d", x.dir, "testdata/Shop.java")
	require.NoError(t, os.Mkdir(filepath.Join(x.dir, "jars"), 0o755))
	output(t, "jar", "--create", "--file", filepath.Join(x.dir, "jars", "shop.jar"), "--main-class", "Shop", "-C", x.dir, "Shop.class")
	mounts := map[string]string{"/usr": "/usr", "/jars": filepath.Join(x.dir, "jars")}
	if etc, err := filepath.Glob("/etc/java*"); err == nil {
		for _, conf := range etc {
			mounts[conf] = conf
		}
	}
	java, err := filepath.EvalSymlinks(strings.TrimSpace(output(t, "which", "java")))
	require.NoError(t, err)
	l := x.run(t, privateruntime.ContainerSpec{
		Name: "java", Image: "zastava.local/usr:1", Mounts: mounts, Command: []string{java, "-Xmx64m", "-jar", "/jars/shop.jar"},
	})
	l.opened(t, "shop.jar")
	l.mapped(t, "libnet.so")
	l.mapped(t, "libzip.so")
	sample := l.steady(t, x.sampler)
	checkSample(t, l.pid, sample)
	assert.Equal(t, evidence.KindJar, kindOf(sample, "/jars/shop.jar"))
}

func (x *truth) secondContainerOfImage(t *testing.T) {
	second := x.run(t, privateruntime.ContainerSpec{Name: "c2", Image: "zastava.local/c:1"})
	hashed := x.sampler.Stats().FilesHashed
	var sample evidence.Sample
	until(t, "the container's own program", func() bool { // at first it is the runtime's, of which nothing may be reported
		var err error
		sample, err = x.sampler.Sample(t.Context(), second.target())
		require.NoError(t, err)
		if sample.Processes[0].Executable == evidence.Present("/app") {
			return len(sample.Files) == 3
		}
		assert.Equal(t, evidence.Unknown[string](evidence.ReasonProcessGone), sample.Processes[0].Executable)
		assert.Empty(t, sample.Files)
		return false
	})
	checkSample(t, second.pid, sample)
	if kernelIdentifiesOverlays(t, second.pid) {
		assert.Equal(t, hashed, x.sampler.Stats().FilesHashed, "the layers below the overlays are the same files")
	}
}

func (x *truth) endedContainer(t *testing.T) {
	require.NoError(t, x.d.Stop(t.Context(), x.dlopen.id, 0))
	sample, err := x.sampler.Sample(t.Context(), x.dlopen.target())
	require.NoError(t, err)
	require.Len(t, sample.Processes, 1)
	assert.Equal(t, unknownProcess(x.dlopen.pid, true, evidence.ReasonProcessGone), sample.Processes[0])
	assert.Equal(t, evidence.Count{Seen: 1, Skipped: map[evidence.Reason]int{evidence.ReasonProcessGone: 1}}, sample.Coverage.Processes)
}

func (x *truth) ownersOfFiles(t *testing.T) {
	need(t, "dpkg-query", "/usr/bin/python3")
	l := x.run(t, privateruntime.ContainerSpec{
		Name: "dpkg", Image: "zastava.local/usr:1", Mounts: map[string]string{"/usr": "/usr", "/var/lib/dpkg": "/var/lib/dpkg"},
		Command: []string{"/usr/bin/python3", "-c", "import _bz2, time; time.sleep(1e6)"},
	})
	l.mapped(t, "libbz2")
	config := testConfig()
	config.PackageOwners = true
	sample, err := samplerFor(t, config).Sample(t.Context(), l.target())
	require.NoError(t, err)
	owned := 0
	for _, f := range sample.Files {
		name, version := packageOf(t, f.Path)
		if name == "" {
			assert.Equal(t, evidence.Absent[string](), f.Package, f.Path)
			continue
		}
		owned++
		bare, _, _ := strings.Cut(name, ":")
		want := packageurl.NewPackageURL("deb", "", bare, version, nil, "").ToString()
		assert.Contains(t, f.Package.Value, strings.TrimPrefix(want, "pkg:deb")+"?arch=", f.Path)
		assert.True(t, strings.HasPrefix(f.Package.Value, "pkg:deb/"), f.Package.Value)
	}
	assert.Positive(t, owned)
}
