// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
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

// testConfig is as fast as it can be: what the tests wait for is the containers, not the share of CPU time.
func testConfig() Config {
	c := DefaultConfig()
	c.MaxCPUFraction = 1
	c.Limits.Step, c.Limits.Time = time.Minute, 2*time.Minute // a busy machine has little to give to a thread of low priority
	return c
}

func samplerFor(t *testing.T, c Config) *Sampler {
	t.Helper()
	s, err := NewSampler(c)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

// need skips a test for want of a program of this machine, naming it.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s", program)
		}
	}
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	said, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	require.NoError(t, err, "%s %v: %s", name, args, said)
	return string(said)
}

// codeOf gives the paths that a process has mapped executable, by another reading of maps than the sampler's.
func codeOf(t *testing.T, pid int) []string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	require.NoError(t, err)
	var paths []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) >= 6 && strings.Contains(fields[1], "x") && strings.HasPrefix(fields[5], "/") && !slices.Contains(paths, fields[5]) {
			paths = append(paths, fields[5])
		}
	}
	slices.Sort(paths)
	return paths
}

// checkFile compares a file of a sample with what sha256sum, readelf, stat and go version say of it.
func checkFile(t *testing.T, pid int, f evidence.File) {
	t.Helper()
	host := filepath.Join("/proc", strconv.Itoa(pid), "root", f.Path)
	sum, _, _ := strings.Cut(output(t, "sha256sum", host), " ")
	assert.Equal(t, evidence.Present(sum), f.SHA256, f.Path)
	size, err := strconv.ParseInt(strings.TrimSpace(output(t, "stat", "-L", "-c", "%s", host)), 10, 64)
	require.NoError(t, err)
	assert.Equal(t, evidence.Present(size), f.Size, f.Path)
	if f.Kind == evidence.KindJar || f.Kind == evidence.KindScript {
		assert.Equal(t, evidence.Unknown[string](evidence.ReasonNotELF), f.BuildID)
		return
	}
	want, wantGo := evidence.Absent[string](), evidence.Absent[string]()
	for line := range strings.Lines(output(t, "readelf", "-n", "-W", host)) {
		if _, id, ok := strings.Cut(line, "Build ID: "); ok {
			want = evidence.Present("gnu-build-id:" + strings.TrimSpace(id))
		}
	}
	assert.Equal(t, want, f.BuildID, f.Path)

	said, err := exec.CommandContext(t.Context(), "go", "version", "-m", host).CombinedOutput()
	if err != nil || !strings.Contains(string(said), "\tpath\t") {
		assert.Equal(t, evidence.Absent[evidence.GoBuild](), f.Go, f.Path)
		assert.Equal(t, wantGo, f.GoBuildID, f.Path)
		return
	}
	assert.Equal(t, evidence.Present(strings.TrimSpace(output(t, "go", "tool", "buildid", host))), f.GoBuildID, f.Path)
	build, ok := f.Go.Get()
	require.True(t, ok)
	var modules []evidence.GoModule
	for line := range strings.Lines(string(said)) {
		switch fields := strings.Fields(line); {
		case len(fields) == 2 && strings.HasPrefix(fields[1], "go1"):
			assert.Equal(t, fields[1], build.Version)
			modules = append(modules, evidence.GoModule{Path: "stdlib", Version: strings.TrimPrefix(fields[1], "go")})
		case len(fields) == 2 && fields[0] == "path":
			assert.Equal(t, fields[1], build.Path)
		case len(fields) >= 2 && fields[0] == "mod":
			m := evidence.GoModule{Path: fields[1], Main: true}
			if len(fields) > 2 && fields[2] != "(devel)" {
				m.Version = fields[2]
			}
			modules = append(modules, m)
		case len(fields) >= 3 && fields[0] == "dep":
			modules = append(modules, evidence.GoModule{Path: fields[1], Version: fields[2]})
		}
	}
	assert.ElementsMatch(t, modules, build.Modules, f.Path)
}

// checkSample compares all of a sample with the truth of its processes.
func checkSample(t *testing.T, pid int, sample evidence.Sample) {
	t.Helper()
	want := map[string]bool{}
	for _, p := range sample.Processes {
		for _, path := range codeOf(t, p.PID) {
			want[path] = true
		}
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.PID))
		require.NoError(t, err)
		assert.Equal(t, evidence.Present(exe), p.Executable)
	}
	for _, f := range sample.Files {
		if f.Kind != evidence.KindJar && f.Kind != evidence.KindScript && f.Kind != evidence.KindAssembly {
			assert.True(t, want[f.Path], "%s is not mapped", f.Path)
			delete(want, f.Path)
		}
		assert.False(t, f.Deleted, f.Path)
		assert.NotEmpty(t, f.Uses)
		for _, use := range f.Uses {
			if use.LoadBase != 0 {
				maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", use.PID))
				require.NoError(t, err)
				begins := regexp.MustCompile(fmt.Sprintf(`(?m)^0*%x-.*%s$`, use.LoadBase, regexp.QuoteMeta(f.Path)))
				assert.True(t, begins.Match(maps), "%s begins at its load base %x", f.Path, use.LoadBase)
			}
		}
		checkFile(t, pid, f)
	}
	assert.Empty(t, want, "mapped, and not in the sample")
	c := sample.Coverage
	assert.Equal(t, evidence.Count{Seen: len(sample.Files), Read: len(sample.Files)}, c.Files)
	assert.Equal(t, evidence.Count{Seen: len(sample.Processes), Read: len(sample.Processes)}, c.Processes)
	assert.False(t, c.MappingsTruncated)
}

// live is a container of a test, running.
type live struct {
	id  string
	pid int
}

func (l live) target() evidence.Target { return evidence.Target{ContainerID: l.id, PID: l.pid} }

func run(t *testing.T, d *privateruntime.Driver, pod *privateruntime.Pod, spec privateruntime.ContainerSpec) live {
	t.Helper()
	id, err := d.Run(t.Context(), pod, spec)
	require.NoError(t, err)
	pid, err := d.PID(t.Context(), id)
	require.NoError(t, err)
	return live{id, pid}
}

// mapped waits until a process of the container has something mapped whose path contains a text.
func (l live) mapped(t *testing.T, text string) {
	t.Helper()
	until(t, "a mapping of "+text, func() bool {
		maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", l.pid))
		return err == nil && strings.Contains(string(maps), text)
	})
}

// steady takes a sample of a container that may be starting still: one during which its main process mapped nothing new.
func (l live) steady(t *testing.T, s *Sampler) (sample evidence.Sample) {
	t.Helper()
	until(t, "nothing new to be mapped", func() bool {
		before := codeOf(t, l.pid)
		var err error
		sample, err = s.Sample(t.Context(), l.target())
		require.NoError(t, err)
		return slices.Equal(before, codeOf(t, l.pid))
	})
	return sample
}

// opened waits until the container's main process has a file open whose path ends so.
func (l live) opened(t *testing.T, suffix string) {
	t.Helper()
	until(t, suffix+" to be open", func() bool {
		links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", l.pid))
		return err == nil && slices.ContainsFunc(links, func(link string) bool {
			target, err := os.Readlink(link)
			return err == nil && strings.HasSuffix(target, suffix)
		})
	})
}

func until(t *testing.T, what string, reached func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !reached() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			require.Fail(t, "waited for "+what)
		}
	}
}

// built compiles a program of testdata, statically, with the options a release would have.
func built(t *testing.T, dir, name string) string {
	t.Helper()
	program := filepath.Join(dir, name)
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", program, "./testdata/"+name)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	said, err := build.CombinedOutput()
	require.NoError(t, err, "%s", said)
	return program
}

func program(t *testing.T, source, at string) []privateruntime.ImageFile {
	t.Helper()
	files, err := privateruntime.Program(t.Context(), source, at)
	require.NoError(t, err)
	return files
}

// imported builds images and loads them.
func imported(t *testing.T, c *privateruntime.Containerd, specs ...privateruntime.ImageSpec) {
	t.Helper()
	archive := filepath.Join(t.TempDir(), "images.tar")
	require.NoError(t, privateruntime.BuildCustom(archive, specs...))
	names := make([]string, len(specs))
	for i, spec := range specs {
		names[i] = spec.Name
	}
	require.NoError(t, c.Import(t.Context(), archive, names...))
}

// grown waits until a file that was made just now is remembered, for one that changed within the grain of its times may change again,
// and is older than a container that is then started, as those of an image are.
func grown(t *testing.T, made time.Time) {
	t.Helper()
	until(t, "the files to be old", func() bool { return time.Since(made) > settled+time.Second })
}

// TestSamplesAreTrue compares samples of real containers with what other tools say of the same processes and files.
func TestSamplesAreTrue(t *testing.T) {
	need(t, "gcc", "readelf", "sha256sum", "ldd", "busybox", "go")
	t.Parallel()
	c := realruntime.Containerd(t)
	d := c.Driver()
	dir := t.TempDir()

	gostatic := built(t, dir, "gostatic")
	app, plugin := filepath.Join(dir, "dlopen"), filepath.Join(dir, "libplugin.so")
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
	pod, err := d.RunPod(t.Context(), privateruntime.PodSpec{Name: "truth"})
	require.NoError(t, err)

	// The one that takes five seconds starts first.
	dlopen := run(t, d, pod, privateruntime.ContainerSpec{Name: "c", Image: "zastava.local/c:1"})
	s := samplerFor(t, testConfig())
	kindOf := func(sample evidence.Sample, path string) evidence.Kind {
		for _, f := range sample.Files {
			if f.Path == path {
				return f.Kind
			}
		}
		return ""
	}

	dlopen.mapped(t, "libc.so")
	before, err := s.Sample(t.Context(), dlopen.target())
	require.NoError(t, err)
	checkSample(t, dlopen.pid, before)
	assert.Equal(t, evidence.KindExecutable, kindOf(before, "/app"))
	assert.Empty(t, kindOf(before, "/opt/plugins/libplugin.so"), "not opened yet")

	t.Run("static Go", func(t *testing.T) {
		l := run(t, d, pod, privateruntime.ContainerSpec{Name: "go", Image: "zastava.local/go:1"})
		l.mapped(t, "/app")
		sample, err := s.Sample(t.Context(), l.target())
		require.NoError(t, err)
		checkSample(t, l.pid, sample)
		require.Len(t, sample.Files, 1)
		require.Len(t, sample.Processes, 1)
		assert.Equal(t, evidence.Present([]string{"/app"}), sample.Processes[0].Arguments)
		assert.WithinDuration(t, time.Now(), sample.Processes[0].StartedAt, time.Minute)
		modules := sample.Files[0].Go.Value.Modules
		assert.True(t, slices.ContainsFunc(modules, func(m evidence.GoModule) bool { return strings.HasPrefix(m.PURL(), "pkg:golang/golang.org/x/time@v") }))
	})

	t.Run("shell script", func(t *testing.T) {
		l := run(t, d, pod, privateruntime.ContainerSpec{Name: "sh", Image: "zastava.local/sh:1"})
		l.opened(t, "/app/serve.sh")
		var sample evidence.Sample
		until(t, "the shell's child", func() bool {
			sample, err = s.Sample(t.Context(), l.target())
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
	})

	t.Run("Python with extensions", func(t *testing.T) {
		need(t, "/usr/bin/python3")
		l := run(t, d, pod, privateruntime.ContainerSpec{
			Name: "python", Image: "zastava.local/usr:1", Mounts: map[string]string{"/usr": "/usr"},
			Command: []string{"/usr/bin/python3", "-c", "import _json, _lsprof, _bz2, time; print('up'); time.sleep(1e6)"},
		})
		l.mapped(t, "_bz2")
		l.mapped(t, "libbz2")
		sample := l.steady(t, s)
		checkSample(t, l.pid, sample)
		extensions := 0
		for _, f := range sample.Files {
			if f.Kind == evidence.KindExtension {
				assert.Contains(t, f.Path, "lib-dynload")
				extensions++
			}
		}
		assert.Positive(t, extensions)
	})

	t.Run("Java", func(t *testing.T) {
		need(t, "java", "javac", "jar")
		output(t, "javac", "-d", dir, "testdata/Shop.java")
		require.NoError(t, os.Mkdir(filepath.Join(dir, "jars"), 0o755))
		output(t, "jar", "--create", "--file", filepath.Join(dir, "jars", "shop.jar"), "--main-class", "Shop", "-C", dir, "Shop.class")
		mounts := map[string]string{"/usr": "/usr", "/jars": filepath.Join(dir, "jars")}
		if etc, err := filepath.Glob("/etc/java*"); err == nil {
			for _, conf := range etc {
				mounts[conf] = conf
			}
		}
		java, err := filepath.EvalSymlinks(strings.TrimSpace(output(t, "which", "java")))
		require.NoError(t, err)
		l := run(t, d, pod, privateruntime.ContainerSpec{
			Name: "java", Image: "zastava.local/usr:1", Mounts: mounts, Command: []string{java, "-Xmx64m", "-jar", "/jars/shop.jar"},
		})
		l.opened(t, "shop.jar")
		l.mapped(t, "libnet.so")
		l.mapped(t, "libzip.so")
		sample := l.steady(t, s)
		checkSample(t, l.pid, sample)
		assert.Equal(t, evidence.KindJar, kindOf(sample, "/jars/shop.jar"))
	})

	dlopen.mapped(t, "libplugin.so")
	after, err := s.Sample(t.Context(), dlopen.target())
	require.NoError(t, err)
	checkSample(t, dlopen.pid, after)
	assert.Equal(t, evidence.KindLibrary, kindOf(after, "/opt/plugins/libplugin.so"))
	assert.Equal(t, len(after.Files)-1, after.Coverage.FromCache, "only the library is new")

	t.Run("owners of files", func(t *testing.T) {
		need(t, "dpkg-query", "/usr/bin/python3")
		l := run(t, d, pod, privateruntime.ContainerSpec{
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
			// As dpkg has it, some are in /lib and some in /usr/lib.
			var said []byte
			var name, version string
			for _, path := range []string{f.Path, strings.TrimPrefix(f.Path, "/usr")} {
				if said, err = exec.CommandContext(t.Context(), "dpkg-query", "-S", path).Output(); err == nil {
					name, _, _ = strings.Cut(string(said), ": ")
					version = strings.TrimSpace(output(t, "dpkg-query", "-W", "-f", "${Version}", name))
					break
				}
			}
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
		for _, f := range after.Files {
			assert.Equal(t, evidence.StatusNone, f.Package.Status, "it is off by default")
		}
	})

	t.Run("without map_files", func(t *testing.T) { // as without CAP_CHECKPOINT_RESTORE
		s := samplerFor(t, testConfig())
		s.kernel.noMapFiles.Store(true)
		sample, err := s.Sample(t.Context(), dlopen.target())
		require.NoError(t, err)
		checkSample(t, dlopen.pid, sample)
		assert.Equal(t, after.Files, sample.Files)
	})

	t.Run("two containers of an image are hashed once", func(t *testing.T) {
		second := run(t, d, pod, privateruntime.ContainerSpec{Name: "c2", Image: "zastava.local/c:1"})
		hashed := s.Stats().FilesHashed
		var sample evidence.Sample
		until(t, "the container's own program", func() bool { // at first it is the runtime's, of which nothing may be said
			sample, err = s.Sample(t.Context(), second.target())
			require.NoError(t, err)
			if sample.Processes[0].Executable == evidence.Present("/app") {
				return len(sample.Files) == 3
			}
			assert.Equal(t, evidence.Unknown[string](evidence.ReasonProcessGone), sample.Processes[0].Executable)
			assert.Empty(t, sample.Files)
			return false
		})
		checkSample(t, second.pid, sample)
		if kernelTellsOverlays(t, second.pid) {
			assert.Equal(t, hashed, s.Stats().FilesHashed, "the layers below the overlays are the same files")
		}
	})

	t.Run("a container that has ended", func(t *testing.T) {
		require.NoError(t, d.Stop(t.Context(), dlopen.id, 0))
		sample, err := s.Sample(t.Context(), dlopen.target())
		require.NoError(t, err)
		require.Len(t, sample.Processes, 1)
		assert.Equal(t, unknownProcess(dlopen.pid, true, evidence.ReasonProcessGone), sample.Processes[0])
		assert.Equal(t, evidence.Count{Seen: 1, Skipped: map[evidence.Reason]int{evidence.ReasonProcessGone: 1}}, sample.Coverage.Processes)
	})
}

// kernelTellsOverlays says whether the kernel gives the identity of files below an overlay (Linux 6.5).
func kernelTellsOverlays(t *testing.T, pid int) bool {
	t.Helper()
	p, err := openProcess("/proc", pid, newScratch())
	require.NoError(t, err)
	defer p.close()
	found, err := p.locateLink("exe")
	require.NoError(t, err)
	defer found.close()
	_, ok := found.sharedKey(time.Now().Add(time.Hour))
	return ok
}
