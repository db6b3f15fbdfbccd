// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Hostile plays the tricks of a container that means harm to whoever looks at it. Its first argument is the trick; it says "ready"
// once the trick is set up and then lives until it is killed. It uses nothing but the standard library.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

func main() {
	switch os.Args[1] {
	case "symlink": // a mapped library is replaced by a link to a file of the host: its path is the argument
		mapped("/lib/evil/libevil.so", pattern(8192))
		must(os.Remove("/lib/evil/libevil.so"))
		must(os.Symlink(os.Args[2], "/lib/evil/libevil.so"))
		must(os.Symlink(os.Args[2], "/lib/evil/libevil.so (deleted)")) // as maps has it now
	case "swap": // its directory is a link to the host's every other moment
		mapped("/lib/evil/"+os.Args[3], pattern(8192))
		must(os.Symlink(os.Args[2], "/lib/link"))
		go func() {
			for {
				must(os.Rename("/lib/evil", "/lib/good"))
				must(os.Rename("/lib/link", "/lib/evil"))
				must(os.Rename("/lib/evil", "/lib/link"))
				must(os.Rename("/lib/good", "/lib/evil"))
			}
		}()
	case "dirlink": // so is its directory
		mapped("/lib/evil/"+os.Args[3], pattern(8192))
		must(os.Rename("/lib/evil", "/lib/good"))
		must(os.Symlink(os.Args[2], "/lib/evil"))
	case "magiclink": // and the link goes through /proc
		mapped("/lib/evil/libevil.so", pattern(8192))
		must(os.Remove("/lib/evil/libevil.so"))
		must(os.Symlink("/proc/1/root/../../.."+os.Args[2], "/lib/evil/libevil.so"))
		must(os.Symlink("/proc/1/root/../../.."+os.Args[2], "/lib/evil/libevil.so (deleted)"))
	case "fifo":
		mapped("/lib/evil/libevil.so", pattern(8192))
		must(os.Remove("/lib/evil/libevil.so"))
		must(syscall.Mkfifo("/lib/evil/libevil.so", 0o777))
		must(syscall.Mkfifo("/pipe.jar", 0o777))
		keep(os.OpenFile("/pipe.jar", os.O_RDWR, 0))
	case "device":
		must(syscall.Mknod("/zero.jar", syscall.S_IFCHR|0o666, 1<<8|5))
		keep(os.Open("/zero.jar"))
		zero, err := os.Open("/dev/zero")
		must(err)
		_, err = syscall.Mmap(int(zero.Fd()), 0, 4096, syscall.PROT_READ|syscall.PROT_EXEC, syscall.MAP_PRIVATE)
		must(err)
	case "sparse": // a terabyte, mapped and open
		f := mapped("/lib/evil/libbig.so", append([]byte("\x7fELF\x02\x01\x01"), pattern(8192)...))
		must(f.Truncate(1 << 40))
		keep(os.Create("/big.jar"))
		must(os.Truncate("/big.jar", 1<<40))
	case "absurd": // headers that ask for all there is
		for i, h := range absurd() {
			f := mapped(fmt.Sprintf("/lib/evil/lib%d.so", i), h)
			must(f.Truncate(1 << 30))
		}
	case "changing":
		f := create("/hot.jar", pattern(16<<20))
		go func() {
			for n := uint64(0); ; n++ {
				_, err := f.WriteAt(binary.LittleEndian.AppendUint64(nil, n), 8<<20)
				must(err)
			}
		}()
	case "mappings": // as many as the argument says, of one file; every second one executable, so that none are joined
		n, err := strconv.Atoi(os.Args[2])
		must(err)
		f := create("/lib/evil/libmany.so", pattern(8192))
		for i := range n {
			prot := syscall.PROT_READ
			if i%2 == 0 {
				prot |= syscall.PROT_EXEC
			}
			_, err := syscall.Mmap(int(f.Fd()), 0, 4096, prot, syscall.MAP_PRIVATE)
			must(err)
		}
	case "files": // as many mapped files as the argument says
		n, err := strconv.Atoi(os.Args[2])
		must(err)
		for i := range n {
			must(mapped(fmt.Sprintf("/lib/evil/lib%d.so", i), pattern(4096+i)).Close())
		}
	case "processes":
		n, err := strconv.Atoi(os.Args[2])
		must(err)
		for range n {
			_, err := os.StartProcess("/hostile", []string{"/hostile", "child"}, &os.ProcAttr{})
			must(err)
		}
	case "deleted":
		mapped("/lib/evil/libgone.so", pattern(8192))
		must(os.Remove("/lib/evil/libgone.so"))
	case "replaced":
		mapped("/lib/evil/libnew.so", pattern(8192))
		must(os.WriteFile("/lib/evil/libnew.so~", pattern(9000), 0o755))
		must(os.Rename("/lib/evil/libnew.so~", "/lib/evil/libnew.so"))
	case "names": // that look like what they are not
		mapped("/lib/evil/libalive.so (deleted)", pattern(8192))
		mapped("/lib/evil/new\nline.so", pattern(8193))
		mapped(`/lib/evil/back\012slash.so`, pattern(8194))
	case "fuse":
		fuse()
	case "sleep":
	case "child":
		time.Sleep(time.Hour)
	default:
		fmt.Fprintln(os.Stderr, "no such trick")
		os.Exit(64)
	}
	fmt.Println("ready")
	must(os.WriteFile("/ready", nil, 0o644))
	for {
		time.Sleep(time.Hour)
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

var kept []*os.File

func keep(f *os.File, err error) {
	must(err)
	kept = append(kept, f)
}

func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i * 7)
	}
	return p
}

func create(name string, content []byte) *os.File {
	must(os.MkdirAll("/lib/evil", 0o755))
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o755)
	keep(f, err)
	_, err = f.Write(content)
	must(err)
	return f
}

// mapped makes a file and maps its first page executable.
func mapped(name string, content []byte) *os.File {
	f := create(name, content)
	_, err := syscall.Mmap(int(f.Fd()), 0, 4096, syscall.PROT_READ|syscall.PROT_EXEC, syscall.MAP_PRIVATE)
	must(err)
	return f
}

func absurd() [][]byte {
	order := binary.LittleEndian
	elf := func(change func(h []byte)) []byte {
		h := make([]byte, 8192)
		copy(h, "\x7fELF\x02\x01\x01")
		order.PutUint64(h[32:], 64)
		order.PutUint64(h[40:], 4096)
		order.PutUint16(h[54:], 56)
		order.PutUint16(h[58:], 64)
		change(h)
		return h
	}
	return [][]byte{
		elf(func(h []byte) { order.PutUint16(h[56:], 0xffff) }),                                       // PN_XNUM program headers
		elf(func(h []byte) { order.PutUint16(h[60:], 0xffff) }),                                       // as many sections as fit
		elf(func(h []byte) { order.PutUint64(h[4096+32:], 1<<40) }),                                   // their number in the first one
		elf(func(h []byte) { order.PutUint16(h[56:], 1); h[64] = 4; order.PutUint64(h[96:], 1<<62) }), // endless notes
		elf(func(h []byte) { order.PutUint64(h[32:], 1<<63); order.PutUint16(h[56:], 9) }),            // headers at a negative offset
		elf(func(h []byte) {
			order.PutUint16(h[60:], 0x4000)
			for i := range 60 {
				order.PutUint32(h[4096+64*i+4:], 7) // SHT_NOTE
				order.PutUint64(h[4096+64*i+32:], 1<<40)
			}
		}),
	}
}

// fuse mounts a file system of one file, /mnt/hang.jar, opens it, and from then on answers nothing.
func fuse() {
	must(os.MkdirAll("/mnt", 0o755))
	dev, err := syscall.Open("/dev/fuse", syscall.O_RDWR, 0)
	must(err)
	must(syscall.Mount("x", "/mnt", "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", dev)))
	opened := make(chan struct{})
	go serve(dev, opened)
	// The kernel reports the close of a file to the server and waits for the answer, so that this process could not even end. Once the server
	// has answered that it does not implement it, the kernel does not report closes again.
	first, err := os.Open("/mnt/hang.jar")
	must(err)
	_ = first.Close()
	keep(os.Open("/mnt/hang.jar"))
	close(opened)
}

// Of linux/fuse.h, protocol 7.
const (
	opLookup, opForget, opGetattr, opOpen, opFlush, opInit, opBatchForget = 1, 2, 3, 14, 25, 26, 42
)

func serve(dev int, opened <-chan struct{}) {
	request := make([]byte, 256<<10)
	order := binary.LittleEndian
	for {
		n, err := syscall.Read(dev, request)
		if err == syscall.EINTR {
			continue
		}
		must(err)
		select {
		case <-opened:
			continue // it is read, and never answered
		default:
		}
		opcode, unique, node := order.Uint32(request[4:]), order.Uint64(request[8:]), order.Uint64(request[16:n])
		answer := func(body []byte, errno int32) {
			out := order.AppendUint32(nil, uint32(16+len(body)))
			out = order.AppendUint32(out, uint32(errno))
			out = order.AppendUint64(out, unique)
			_, err := syscall.Write(dev, append(out, body...))
			must(err)
		}
		switch opcode {
		case opInit:
			body := make([]byte, 64)
			order.PutUint32(body, 7)
			order.PutUint32(body[4:], 31)
			order.PutUint32(body[8:], 65536)
			order.PutUint32(body[20:], 65536) // max_write
			answer(body, 0)
		case opLookup:
			answer(append(binary.LittleEndian.AppendUint64(nil, 2), append(make([]byte, 32), attr(2)...)...), 0)
		case opGetattr:
			answer(append(make([]byte, 16), attr(node)...), 0)
		case opOpen:
			answer(make([]byte, 16), 0)
		case opForget, opBatchForget:
		default:
			answer(nil, -int32(syscall.ENOSYS))
		}
	}
}

func attr(node uint64) []byte {
	type fuseAttr struct {
		ino, size, blocks, atime, mtime, ctime         uint64
		atimensec, mtimensec, ctimensec                uint32
		mode, nlink, uid, gid, rdev, blksize, reserved uint32
	}
	a := fuseAttr{ino: node, size: 4096, blocks: 8, mode: syscall.S_IFREG | 0o755, nlink: 1, blksize: 4096}
	if node == 1 {
		a.mode = syscall.S_IFDIR | 0o755
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&a)), unsafe.Sizeof(a))
}
