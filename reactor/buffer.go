package reactor

import (
	"math/bits"
	"sync"
	"unsafe"
)

// buffer is memory of the reactor's own, aligned to a page so that O_DIRECT
// takes it. It is owned by the operation that runs in it, then by the waker.
type buffer struct {
	p     []byte
	class int
}

const pageSize = 4096

// Buffers come in powers of two from a page to 2^bufferClasses-1 pages; larger
// ones are made to measure and not kept.
const bufferClasses = 11 // up to 4 MiB

var bufferPools [bufferClasses]sync.Pool

// newBuffer returns a buffer whose p has length n. Its contents are undefined.
func newBuffer(n int) *buffer {
	class := bits.Len(uint(max(n, 1)-1) / pageSize)
	if class >= bufferClasses {
		return &buffer{p: alignedBytes(n), class: class}
	}
	b, _ := bufferPools[class].Get().(*buffer)
	if b == nil {
		b = &buffer{p: alignedBytes(pageSize << class), class: class}
	}
	b.p = b.p[:n]
	return b
}

// free gives the buffer back. It is safe on nil.
func (b *buffer) free() {
	if b != nil && b.class < bufferClasses {
		bufferPools[b.class].Put(b)
	}
}

// alignedBytes returns n bytes that start at a multiple of the page size.
func alignedBytes(n int) []byte {
	p := make([]byte, n+pageSize)
	skip := -uintptr(unsafe.Pointer(&p[0])) & (pageSize - 1)
	return p[skip : skip+uintptr(n) : skip+uintptr(n)]
}
