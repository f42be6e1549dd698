package main

import (
	"syscall"
	"time"
	"unsafe"
)

// processCPU is the CPU time of all threads, as Google Benchmark's MeasureProcessCPUTime takes it.
func processCPU() time.Duration {
	const clockProcessCPUTimeID = 2
	var now syscall.Timespec
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockProcessCPUTimeID, uintptr(unsafe.Pointer(&now)), 0); errno != 0 {
		panic(errno)
	}
	return time.Duration(now.Nano())
}

// timer adds up the time between start and stop.
type timer struct {
	wall    bool // instead of the process's CPU time
	since   time.Duration
	elapsed time.Duration
}

var epoch = time.Now()

func (t *timer) now() time.Duration {
	if t.wall {
		return time.Since(epoch)
	}
	return processCPU()
}

func (t *timer) start() { t.since = t.now() }
func (t *timer) stop()  { t.elapsed += t.now() - t.since }
