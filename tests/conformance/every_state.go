// The twin of every_state.cc: one goroutine in every state that a fiber and a goroutine can both be in. Prints where net/http/pprof
// listens once all of them are spawned, and ends with its standard input.
//
// One processor, so the goroutine that computes is runnable whenever somebody looks: the one that runs is the one that looks.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"time"
)

// What the goroutines wait for. None of it happens.
var (
	channel      = make(chan int)
	other        = make(chan int)
	none         chan int
	mutex        sync.Mutex   // held
	readMutex    sync.RWMutex // held by a reader
	writtenMutex sync.RWMutex // held by a writer
	condition    = sync.NewCond(&sync.Mutex{})
	group        sync.WaitGroup
	connection   net.Conn // whose peer says nothing
	ends         [2]int
	spawned      = make(chan int)
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func chanReceive() {
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("path", "/orders/7", "tenant", "Käse & Co")))
	<-channel
}
func chanReceiveLocked() {
	runtime.LockOSThread()
	<-channel
}
func chanReceiveNil() { <-none }
func chanSend()       { other <- 1 }
func chanSendNil()    { none <- 1 }
func selectTwo() {
	select {
	case <-channel:
	case other <- 1:
	}
}
func selectNil() {
	select {
	case <-none:
	case none <- 1:
	}
}
func selectNoCases() { select {} }
func sleep()         { time.Sleep(time.Hour) }
func ioWait()        { connection.Read(make([]byte, 1)) }

// Of two readers of a connection the second waits for the first, in the one semaphore that the library does not wrap.
func semacquire()    { connection.Read(make([]byte, 1)) }
func waitGroupWait() { group.Wait() }
func mutexLock()     { mutex.Lock() }
func rwMutexRLock()  { writtenMutex.RLock() }
func rwMutexLock()   { readMutex.Lock() }
func condWait() {
	condition.L.Lock()
	condition.Wait()
}
func syscallRead() { syscall.Read(ends[0], make([]byte, 1)) }
func runnable() {
	for {
	}
}

// Whether ioWait is the one that waits for the connection.
func ioWaits() bool {
	text := make([]byte, 1<<20)
	for _, block := range strings.Split(string(text[:runtime.Stack(text, true)]), "\n\n") {
		if strings.Contains(block, "[IO wait]") && strings.Contains(block, "main.ioWait(") {
			return true
		}
	}
	return false
}

func spawner() {
	mutex.Lock()
	readMutex.RLock()
	writtenMutex.Lock()
	group.Add(1)
	for _, function := range []func(){chanReceive, chanReceiveLocked, chanReceiveNil, chanSend, chanSendNil, selectTwo, selectNil,
		selectNoCases, sleep, ioWait, waitGroupWait, mutexLock, rwMutexRLock, rwMutexLock, condWait, syscallRead} {
		go function()
	}
	for !ioWaits() {
		runtime.Gosched()
	}
	go semacquire()
	go runnable()
	spawned <- 1
	<-channel
}

func main() {
	runtime.GOMAXPROCS(1)
	check(syscall.Pipe(ends[:]))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	connection, err = net.Dial("tcp", listener.Addr().String())
	check(err)
	go http.Serve(listener, nil)
	go spawner()
	<-spawned
	fmt.Println(listener.Addr())
	io.Copy(io.Discard, os.Stdin)
}
