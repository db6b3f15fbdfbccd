// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The two images in the archive that BuildImages writes. They share one layer
// with one file, /probe, so that all pods share its pages.
const (
	PauseImage = "zastava.local/pause:1" // entrypoint: /probe pause
	ProbeImage = "zastava.local/probe:1" // entrypoint: /probe; see the probe command for its arguments
)

//go:embed probe/main.go
var probeSource []byte

// epoch replaces every time in the images, so that the same program results in the same bytes.
var epoch = time.Unix(0, 0).UTC()

// BuildImages compiles the probe program, writes an archive with PauseImage and ProbeImage below cacheDir, and returns its path. The
// archive is an OCI layout and a docker-archive in one: `ctr images import`, `docker load` and `podman load` all read it. Its name
// follows from its content (source, Go version, architecture), so a second call builds nothing. It needs the go command, but no
// module proxy or registry.
func BuildImages(ctx context.Context, cacheDir string) (archive string, err error) {
	if err := os.MkdirAll(cacheDir, 0o755); err != nil {
		return "", fmt.Errorf("build the test images: %w", err)
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %s %s %s\n", runtime.Version(), runtime.GOARCH, PauseImage, ProbeImage)
	sum.Write(probeSource)
	archive = filepath.Join(cacheDir, "images-"+hex.EncodeToString(sum.Sum(nil))[:16]+".tar")
	if _, err := os.Stat(archive); err == nil {
		return archive, nil
	}
	program, err := compileProbe(ctx, cacheDir)
	if err != nil {
		return "", fmt.Errorf("build the test images: %w", err)
	}
	// Several processes may build at once. Each writes its own file, and the last rename wins, with the same content.
	out, err := os.CreateTemp(cacheDir, "images-*.tmp")
	if err != nil {
		return "", fmt.Errorf("build the test images: %w", err)
	}
	defer func() { _ = os.Remove(out.Name()) }()
	err = writeArchive(out, program)
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(out.Name(), archive)
	}
	if err != nil {
		return "", fmt.Errorf("build the test images: %w", err)
	}
	return archive, nil
}

// compileProbe builds the embedded source as its own module, so that the caller's working directory, module and build flags do not
// matter.
func compileProbe(ctx context.Context, cacheDir string) ([]byte, error) {
	dir, err := os.MkdirTemp(cacheDir, "probe-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	files := map[string][]byte{"main.go": probeSource, "go.mod": []byte("module probe\n\ngo 1.26\n")}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return nil, err
		}
	}
	program := filepath.Join(dir, "probe")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", program, ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOOS=linux", "GOARCH="+runtime.GOARCH, "GOTOOLCHAIN=local")
	if output, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile the probe program: %w: %s", err, bytes.TrimSpace(output))
	}
	return os.ReadFile(program)
}

func writeArchive(w io.Writer, program []byte) error {
	layer, err := probeLayer(program)
	if err != nil {
		return err
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	var dockerManifest tarball.Manifest
	var blobs []blob
	for _, image := range []struct {
		name       string
		entrypoint []string
	}{
		{PauseImage, []string{"/probe", "pause"}},
		{ProbeImage, []string{"/probe"}},
	} {
		img, err := newImage(layer, image.entrypoint)
		if err != nil {
			return err
		}
		parts, err := imageBlobs(img)
		if err != nil {
			return err
		}
		blobs = append(blobs, parts.config, parts.layer, parts.manifest)
		index.Manifests = append(index.Manifests, v1.Descriptor{
			MediaType: types.OCIManifestSchema1,
			Size:      int64(len(parts.manifest.content)),
			Digest:    parts.manifest.digest,
			Platform:  &v1.Platform{OS: "linux", Architecture: runtime.GOARCH},
			// The first is containerd's own. Without it `ctr` would use the tag alone as the name.
			Annotations: map[string]string{
				"io.containerd.image.name":          image.name,
				"org.opencontainers.image.ref.name": image.name,
			},
		})
		dockerManifest = append(dockerManifest, tarball.Descriptor{
			Config:   parts.config.path(),
			RepoTags: []string{image.name},
			Layers:   []string{parts.layer.path()},
		})
	}
	indexJSON, err := json.Marshal(index)
	if err != nil {
		return err
	}
	dockerJSON, err := json.Marshal(dockerManifest)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(w)
	written := map[string]bool{}
	for _, b := range blobs {
		if written[b.path()] {
			continue
		}
		written[b.path()] = true
		if err := addFile(archive, b.path(), 0o644, b.content); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		name    string
		content []byte
	}{
		{"index.json", indexJSON},
		{"manifest.json", dockerJSON},
		{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)},
	} {
		if err := addFile(archive, f.name, 0o644, f.content); err != nil {
			return err
		}
	}
	return archive.Close()
}

func newImage(layer v1.Layer, entrypoint []string) (v1.Image, error) {
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	img, err := mutate.Append(img, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "zastava privateruntime"},
	})
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Created = v1.Time{Time: epoch}
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = v1.Config{Entrypoint: entrypoint, Env: []string{"PATH=/"}, WorkingDir: "/"}
	return mutate.ConfigFile(img, config)
}

func probeLayer(program []byte) (v1.Layer, error) {
	var content bytes.Buffer
	w := tar.NewWriter(&content)
	if err := addFile(w, "probe", 0o755, program); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return static.NewLayer(content.Bytes(), types.OCIUncompressedLayer), nil
}

func addFile(w *tar.Writer, name string, mode int64, content []byte) error {
	header := &tar.Header{Name: name, Mode: mode, Size: int64(len(content)), ModTime: epoch, Typeflag: tar.TypeReg}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}

type blob struct {
	digest  v1.Hash
	content []byte
}

func (b blob) path() string { return "blobs/" + b.digest.Algorithm + "/" + b.digest.Hex }

type parts struct{ config, layer, manifest blob }

func imageBlobs(img v1.Image) (p parts, err error) {
	if p.config.digest, err = img.ConfigName(); err != nil {
		return p, err
	}
	if p.config.content, err = img.RawConfigFile(); err != nil {
		return p, err
	}
	if p.manifest.digest, err = img.Digest(); err != nil {
		return p, err
	}
	if p.manifest.content, err = img.RawManifest(); err != nil {
		return p, err
	}
	layers, err := img.Layers()
	if err != nil {
		return p, err
	}
	if p.layer.digest, err = layers[0].Digest(); err != nil {
		return p, err
	}
	r, err := layers[0].Uncompressed()
	if err != nil {
		return p, err
	}
	defer func() { _ = r.Close() }()
	p.layer.content, err = io.ReadAll(r)
	return p, err
}
