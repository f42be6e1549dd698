package main

// The twin of ../parked_program.cc, which says how it is driven.

import (
	"bufio"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// descend has 64 bytes of its own in every frame, which calls from one of two places: a bit of path says which.
//
//go:noinline
func descend(depth, path int, never chan int, arrived *int32) int {
	var locals [64]byte
	use(&locals)
	if depth > 1 {
		if path%2 == 0 {
			return descend(depth-1, path/2, never, arrived) + int(locals[0])
		}
		return descend(depth-1, path/2, never, arrived) + int(locals[1])
	}
	atomic.AddInt32(arrived, 1)
	if path%2 == 0 {
		return <-never + int(locals[0])
	}
	return <-never + int(locals[1])
}

//go:noinline
func use(locals *[64]byte) { locals[63] = 1 }

func park(fibers, depth, stacks int, never chan int) time.Duration {
	var arrived int32
	start := processCPU()
	for i := 0; i < fibers; i++ {
		path := i % stacks
		go func() { descend(depth, path, never, &arrived) }()
	}
	for atomic.LoadInt32(&arrived) < int32(fibers) {
		time.Sleep(time.Millisecond)
	}
	cpu := processCPU() - start
	// As a service has had by the time it has so many; it also shrinks stacks.
	runtime.GC()
	return cpu
}

type ticker struct {
	mutex sync.Mutex
	late  []time.Duration
}

func (t *ticker) run() {
	for {
		due := time.Now().Add(time.Millisecond)
		time.Sleep(time.Until(due))
		late := time.Since(due)
		t.mutex.Lock()
		t.late = append(t.late, late)
		t.mutex.Unlock()
	}
}

func (t *ticker) take() []time.Duration {
	t.mutex.Lock()
	taken := t.late
	t.late = nil
	t.mutex.Unlock()
	sort.Slice(taken, func(i, j int) bool { return taken[i] < taken[j] })
	return taken
}

func parkedMain(arguments []string) {
	flags := flag.NewFlagSet("parked", flag.ExitOnError)
	fibers := flags.Int("fibers", 100000, "how many to park")
	depth := flags.Int("depth", 10, "calls between a goroutine's function and the wait")
	stacks := flags.Int("stacks", 1, "different ones among them, at most 2 to the power of --depth")
	serve := flags.Bool("serve", false, "start the debug server and the ticker")
	flags.Parse(arguments)

	never := make(chan int)
	var t ticker
	address := "-"
	if *serve {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		address = listener.Addr().String()
		go http.Serve(listener, nil)
		go t.run()
	}
	fmt.Println("started", address)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch lines.Text() {
		case "park":
			fmt.Println("parked", park(*fibers, *depth, *stacks, never).Nanoseconds())
		case "ticker":
			late := t.take()
			var p50, p99, worst time.Duration
			if len(late) > 0 {
				p50, p99, worst = late[len(late)/2], late[len(late)*99/100], late[len(late)-1]
			}
			fmt.Println("ticker", len(late), p50.Nanoseconds(), p99.Nanoseconds(), worst.Nanoseconds())
		default:
			log.Fatalf("unknown command: %q", lines.Text())
		}
	}
}
