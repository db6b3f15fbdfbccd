// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Package evidence describes what a container really runs: its processes, their executables and arguments, and the files of code that
// they have mapped or hold open, with build-ids, Go modules, sizes and hashes.
//
// It has value types only, and imports no other package of ours: the record schema and the exporter use them without linking a
// reader. The readers are below: procfs reads processes, buildid binaries, packagedb the databases of distribution packages.
//
// A sample says only what was seen. Every datum is PRESENT, ABSENT, or UNKNOWN with a reason; a file that could not be read is a
// File with UNKNOWN data, not a missing one; and what was left out altogether is counted in Coverage.
package evidence

import "time"

// Target is the container to sample.
type Target struct {
	ContainerID string // the runtime's bare id
	PID         int    // of the main process, in the pid namespace of the proc file system that is read
	// StartedAt is when the runtime says the run began; zero if unknown. It distinguishes the main process from another one with its pid
	// where the cgroup's name does not: the pid may be reused, or belong to another machine.
	StartedAt time.Time
	// CreatedAt is when the container was created; zero if unknown. A file that was changed later belongs to the container alone, even if
	// an earlier run changed it.
	CreatedAt time.Time
	// Elsewhere: the runtime may be on another machine. Only a cgroup that bears the container's id then attributes a process to it.
	Elsewhere bool
}

// Sample is the evidence of one container at one time.
type Sample struct {
	ContainerID string    // as the Target had it
	TakenAt     time.Time // when the inspection began
	Processes   []Process // the main process first, then by PID
	Files       []File    // by path, then device and inode
	Coverage    Coverage
}

// Process is one process of the container.
type Process struct {
	PID       int       // in the pid namespace of ProcRoot
	Main      bool      // the process that the runtime named
	Name      string    // the kernel's comm, at most 15 bytes; empty if unknown. A process can set it
	StartedAt time.Time // from the kernel's start time, to 10 ms; zero if unknown

	Executable         Datum[string]   // path in the container
	Arguments          Datum[[]string] // redacted as configured; ABSENT if it has none (a zombie, or cleared); StatusNone with ModeNone
	ArgumentsTruncated bool            // there were more or longer ones than are read
	Mappings           Datum[int]      // how many mappings of code were read from its maps
	OpenFiles          Datum[int]      // how many open files were searched for jars, assemblies and scripts
}

// Kind is what a file is to the process that uses it.
type Kind string

// The kinds.
const (
	KindExecutable Kind = "executable" // the program of a process
	KindLibrary    Kind = "library"    // mapped executable, and of no other kind
	KindExtension  Kind = "extension"  // a native extension of Python, Node or Ruby, mapped executable
	KindJar        Kind = "jar"        // .jar, .war, .ear: open or mapped
	KindAssembly   Kind = "assembly"   // .NET: .dll or .exe, open or mapped
	KindScript     Kind = "script"     // what a shell was started with and has open
)

// File is one file of code that processes of the container use.
type File struct {
	// Path is the file's path in the container, or was when it was mapped. It is the kernel's name for it, without symbolic links.
	Path string
	Kind Kind

	// Device ("major:minor") and Inode are what the kernel reports for the mapping, or for the open file.
	Device string
	Inode  uint64

	// Deleted: the name no longer exists, or leads to another file.
	Deleted bool

	// Uses has each process that uses the file once, by PID.
	Uses []Use

	Size   Datum[int64]  // bytes
	SHA256 Datum[string] // lower-case hex, of the whole file

	// BuildID has the format of the build-id contract 1.0.0: gnu-build-id:<hex> or pe-guid:<guid>. ABSENT: an ELF or PE file without
	// one. UNKNOWN not_elf: neither ELF nor PE, or an invalid one.
	BuildID Datum[string]

	// GoBuildID and Go are of binaries that Go linked; ABSENT for every other ELF file.
	GoBuildID Datum[string]
	Go        Datum[GoBuild]

	// Package is the purl of the distribution package that owns the file; StatusNone unless Config.PackageOwners.
	// ABSENT: no database that is read lists the file.
	Package Datum[string]
}

// Use is the use of a file by one process.
type Use struct {
	PID int
	// LoadBase is the lowest address at which the file is mapped, minus the offset there; 0 for files that are open and not mapped.
	LoadBase uint64
}

// GoBuild is the build information that Go's linker writes into a binary.
type GoBuild struct {
	Version string     // of Go, for example go1.26.8
	Path    string     // import path of the main package
	Modules []GoModule // the main module first, then its dependencies by path; a replaced one as its replacement
	// Truncated: there were more modules than are kept.
	Truncated bool
}

// GoModule is one module linked into a binary.
type GoModule struct {
	Path    string
	Version string // empty for a main module built from a working tree, and for a replacement by a directory
	Main    bool
}

// Coverage is how much of the container the sample covers.
type Coverage struct {
	Processes Count
	Files     Count
	// MappingsTruncated: a process had more mappings than are read.
	MappingsTruncated bool
	// BytesRead is what was read of files for this sample; files from the cache are not counted.
	BytesRead int64
	FromCache int // files whose content was in the cache
}

// Count counts what was seen: Seen is Read plus the sum of Skipped. A file counts as read if it was hashed, a process if its maps were read.
type Count struct {
	Seen    int
	Read    int
	Skipped map[Reason]int // nil if nothing was skipped
}
