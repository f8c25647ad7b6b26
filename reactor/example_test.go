package reactor_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/uringfs/uringfs/reactor"
)

// open makes a file with that content for an example and returns its descriptor.
func open(content string) int {
	dir, err := os.MkdirTemp("", "reactor")
	if err != nil {
		log.Fatal(err)
	}
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		log.Fatal(err)
	}
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		log.Fatal(err)
	}
	os.RemoveAll(dir) // the descriptor keeps the file
	return fd
}

// The package-level functions need nothing but a descriptor.
func ExampleRead() {
	fd := open("hello, ring")
	defer syscall.Close(fd)

	p := make([]byte, 64)
	n, err := reactor.Read(fd, p)
	fmt.Println(string(p[:n]), err)
	// Output: hello, ring <nil>
}

func ExampleWriteAt() {
	fd := open("hello, ring")
	defer syscall.Close(fd)

	if _, err := reactor.WriteAt(fd, []byte("H"), 0); err != nil {
		log.Fatal(err)
	}
	p := make([]byte, 5)
	n, err := reactor.ReadAt(fd, p, 0)
	fmt.Println(string(p[:n]), err)
	// Output: Hello <nil>
}

// A File of one's own reactor costs no look-up for each call, and its calls take
// a context.
func ExampleReactor_OpenFile() {
	r, err := reactor.New(reactor.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	dir, err := os.MkdirTemp("", "reactor")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	f, err := r.OpenFile(filepath.Join(dir, "file"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()

	ctx := context.Background()
	if _, err := f.WriteAt(ctx, []byte("safe on disk"), 0); err != nil {
		log.Fatal(err)
	}
	if err := f.Fsync(ctx, false); err != nil {
		log.Fatal(err)
	}
	p := make([]byte, 64)
	n, err := f.ReadAt(ctx, p, 0)
	fmt.Println(string(p[:n]), err)
	// Output: safe on disk <nil>
}

// Many operations at once need no goroutine each: futures wait for them.
func ExampleFile_SubmitRead() {
	r, err := reactor.New(reactor.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	f, err := r.Open(open("abcdefgh"))
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()

	ctx := context.Background()
	p := make([]byte, 8)
	futures := make([]*reactor.Future, len(p))
	for i := range p {
		// Until a future is done, its part of p is the reactor's.
		if futures[i], err = f.SubmitRead(ctx, p[i:i+1], int64(len(p)-1-i)); err != nil {
			log.Fatal(err)
		}
	}
	for _, future := range futures {
		if _, err := future.Wait(ctx); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(string(p))
	// Output: hgfedcba
}

// A deadline ends an operation that would wait for ever, here on a pipe into
// which nobody writes.
func ExampleFile_ReadAt_deadline() {
	r, err := reactor.New(reactor.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	var pipe [2]int
	if err := syscall.Pipe(pipe[:]); err != nil {
		log.Fatal(err)
	}
	defer syscall.Close(pipe[1])
	f, err := r.Open(pipe[0])
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = f.ReadAt(ctx, make([]byte, 1), reactor.AtPosition)
	fmt.Println(errors.Is(err, syscall.ETIMEDOUT), time.Since(start) < 5*time.Second)
	// Output: true true
}

// Tasks of an executor look like goroutines, but they share one thread and one
// ring: calls of this package give the thread to the next task while they wait.
func ExampleExecutor() {
	r, err := reactor.New(reactor.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	f, err := r.Open(open("one thread, many tasks"))
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	e, err := reactor.NewExecutor(reactor.ExecutorConfig{})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()

	var vowels atomic.Int32
	for i := range int64(22) {
		err := e.Spawn(func(t *reactor.Task) {
			var p [1]byte
			if _, err := f.ReadAt(context.Background(), p[:], i); err != nil {
				panic(err) // Run returns it
			}
			switch p[0] {
			case 'a', 'e', 'i', 'o', 'u':
				vowels.Add(1)
			}
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	if err := e.Run(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(vowels.Load(), "vowels")
	// Output: 6 vowels
}

// events is a Waker that passes events on to a channel with room for all of
// them, since Wake must not block.
type events chan reactor.Event

func (ch events) Wake(ev reactor.Event) { ch <- ev }

// Register is the layer below futures: one waker may serve any number of
// operations and tell them apart by their event ids.
func ExampleReactor_Register() {
	r, err := reactor.New(reactor.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	fd := open("to be flushed")
	defer syscall.Close(fd)

	ctx := context.Background()
	done := make(events, 2)
	names := map[reactor.EventID]string{}
	for name, op := range map[string]reactor.Op{
		"write": {Code: reactor.OpWrite, FD: fd, Buf: []byte("To"), Off: 0},
		"sync":  {Code: reactor.OpFsync, FD: fd},
	} {
		id, err := r.Register(ctx, op, done)
		if err != nil {
			log.Fatal(err)
		}
		names[id] = name
	}
	results := map[string]reactor.Event{}
	for range names {
		ev := <-done
		results[names[ev.ID]] = ev
	}
	fmt.Println("write:", results["write"].N, results["write"].Err)
	fmt.Println("sync:", results["sync"].Err)
	// Output:
	// write: 2 <nil>
	// sync: <nil>
}
