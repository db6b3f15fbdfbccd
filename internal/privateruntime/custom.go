// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privateruntime

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/google/go-containerregistry/pkg/name"
)

// ImageSpec is an image made of files of this machine, for tests that need real programs.
type ImageSpec struct {
	Name       string // such as zastava.local/app:1
	Entrypoint []string
	Files      []ImageFile
}

// ImageFile is one file of an image: a copy, a text, or a symbolic link.
type ImageFile struct {
	Path    string // in the image
	Source  string // a file of this machine
	Content []byte // instead of Source
	Link    string // instead of both
	Mode    int64  // default 0755
}

// BuildCustom writes a docker-archive with the images, for Containerd.Import.
func BuildCustom(archive string, specs ...ImageSpec) error {
	images := map[name.Tag]v1.Image{}
	for _, spec := range specs {
		tag, err := name.NewTag(spec.Name)
		if err != nil {
			return fmt.Errorf("name image %s: %w", spec.Name, err)
		}
		content, err := layerOf(spec.Files)
		if err != nil {
			return fmt.Errorf("build image %s: %w", spec.Name, err)
		}
		images[tag], err = newImage(static.NewLayer(content, types.OCIUncompressedLayer), spec.Entrypoint)
		if err != nil {
			return fmt.Errorf("build image %s: %w", spec.Name, err)
		}
	}
	if err := tarball.MultiWriteToFile(archive, images); err != nil {
		return fmt.Errorf("write %s: %w", archive, err)
	}
	return nil
}

func layerOf(files []ImageFile) ([]byte, error) {
	var content bytes.Buffer
	w := tar.NewWriter(&content)
	dirs := map[string]bool{".": true, "": true}
	var makeDir func(dir string) error
	makeDir = func(dir string) error {
		if dirs[dir] {
			return nil
		}
		if err := makeDir(path.Dir(dir)); err != nil {
			return err
		}
		dirs[dir] = true
		return w.WriteHeader(&tar.Header{Name: dir + "/", Mode: 0o755, ModTime: epoch, Typeflag: tar.TypeDir})
	}
	seen := map[string]bool{}
	for _, f := range files {
		at := strings.TrimPrefix(path.Clean(f.Path), "/")
		if seen[at] {
			continue
		}
		seen[at] = true
		if err := makeDir(path.Dir(at)); err != nil {
			return nil, err
		}
		header := &tar.Header{Name: at, Mode: f.Mode, ModTime: epoch, Typeflag: tar.TypeReg}
		if header.Mode == 0 {
			header.Mode = 0o755
		}
		if f.Link != "" {
			header.Typeflag, header.Linkname = tar.TypeSymlink, f.Link
			if err := w.WriteHeader(header); err != nil {
				return nil, err
			}
			continue
		}
		text := f.Content
		if f.Source != "" {
			var err error
			if text, err = os.ReadFile(f.Source); err != nil {
				return nil, err
			}
		}
		header.Size = int64(len(text))
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(text); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return content.Bytes(), err
}

// Program returns a program of this machine, at its own path or another, with the libraries that ldd lists. A static program has
// none.
func Program(ctx context.Context, source, at string) ([]ImageFile, error) {
	if at == "" {
		at = source
	}
	files := []ImageFile{{Path: at, Source: source}}
	out, err := exec.CommandContext(ctx, "ldd", source).CombinedOutput()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && bytes.Contains(out, []byte("not a dynamic executable")) {
			return files, nil
		}
		return nil, fmt.Errorf("list the libraries of %s with ldd: %w: %s", source, err, bytes.TrimSpace(out))
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		for field := range strings.FieldsSeq(lines.Text()) {
			if !filepath.IsAbs(field) || slices.ContainsFunc(files, func(f ImageFile) bool { return f.Path == field }) {
				continue
			}
			files = append(files, ImageFile{Path: field, Source: field})
		}
	}
	return files, lines.Err()
}
