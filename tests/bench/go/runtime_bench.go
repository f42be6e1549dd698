package main

// What ../runtime_bench.cc measures, which also says why.

import (
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

type benchmark struct {
	name       string
	processors int
	wall       bool
	once       bool // one iteration, however short
	// run does n iterations, of which t measures what counts, and returns how many items they were.
	run func(n int, t *timer) int
}

func benchmarks(small bool) []benchmark {
	leaves, sleepers := 1000000, 100000
	if small {
		leaves, sleepers = 1000, 100
	}
	return []benchmark{
		{name: "BM_Yield/processors:1/fibers:2", processors: 1, run: yield(2)},
		{name: "BM_Yield/processors:1/fibers:1000", processors: 1, run: yield(1000)},
		{name: "BM_Spawn_FinishJoin/processors:1", processors: 1, run: spawnFinishJoin},
		{name: "BM_Spawn_Batch1000/processors:1", processors: 1, run: spawnBatch},
		{name: "BM_Spawn_Batch1000_WaitGroup/processors:1", processors: 1, run: spawnBatch},
		{name: "BM_Channel_Unbuffered_Hop/processors:1", processors: 1, run: channelHop},
		{name: "BM_Channel_Unbuffered_Hop/processors:2", processors: 2, run: channelHop},
		{name: "BM_Channel_Buffered/processors:1", processors: 1, run: channelBuffered},
		{name: "BM_Channel_Buffered/processors:2", processors: 2, run: channelBuffered},
		{name: "BM_Select_HopOf2/processors:1", processors: 1, run: selectHopOf2},
		{name: "BM_Select_HopOf2/processors:2", processors: 2, run: selectHopOf2},
		{name: "BM_Select_HopOf8/processors:1", processors: 1, run: selectHopOf8},
		{name: "BM_Select_HopOf8/processors:2", processors: 2, run: selectHopOf8},
		{name: "BM_Channel_FanOutFanIn/processors:1", processors: 1, run: fanOutFanIn},
		{name: "BM_Channel_FanOutFanIn/processors:2", processors: 2, run: fanOutFanIn},
		{name: "BM_Channel_ForeignWake/processors:1", processors: 1, wall: true, run: foreignWake},
		{name: "BM_Echo_64_Fibers/processors:1", processors: 2, wall: true, run: echo64}, // one for the client
		{name: "BM_Mutex_Uncontended/processors:1", processors: 1, run: mutexUncontended},
		{name: "BM_Mutex_Contended/processors:2", processors: 2, run: mutexContended},
		{name: "BM_Skynet/processors:1", processors: 1, run: skynetTrees(leaves)},
		{name: "BM_Skynet/processors:2", processors: 2, wall: true, run: skynetTrees(leaves)},
		{name: "BM_SkynetByJoin/processors:1", processors: 1, run: skynetByJoinTrees(leaves)},
		{name: "BM_SkynetByJoin/processors:2", processors: 2, wall: true, run: skynetByJoinTrees(leaves)},
		{name: "BM_SleepWake_100k/processors:1", processors: 1, once: true, run: sleepWake(sleepers)},
		{name: "BM_SleepWake_100k/processors:2", processors: 2, once: true, run: sleepWake(sleepers)},
	}
}

func yield(fibers int) func(int, *timer) int {
	return func(n int, t *timer) int {
		stop := false
		var others sync.WaitGroup
		others.Add(fibers - 1)
		for i := 1; i < fibers; i++ {
			go func() {
				for !stop {
					runtime.Gosched()
				}
				others.Done()
			}()
		}
		runtime.Gosched() // from here on all of them yield
		t.start()
		for i := 0; i < n; i++ {
			runtime.Gosched()
		}
		t.stop()
		stop = true
		others.Wait()
		return n * fibers
	}
}

func spawnFinishJoin(n int, t *timer) int {
	var group sync.WaitGroup
	t.start()
	for i := 0; i < n; i++ {
		group.Add(1)
		go func() { group.Done() }()
		group.Wait()
	}
	t.stop()
	return n
}

func spawnBatch(n int, t *timer) int {
	const batch = 1000
	var group sync.WaitGroup
	t.start()
	for i := 0; i < n; i++ {
		group.Add(batch)
		for j := 0; j < batch; j++ {
			go func() { group.Done() }()
		}
		group.Wait()
	}
	t.stop()
	return n * batch
}

func channelHop(n int, t *timer) int {
	there, back := make(chan int), make(chan int)
	go echo(there, back)
	t.start()
	for i := 0; i < n; i++ {
		there <- 1
		<-back
	}
	t.stop()
	close(there)
	return n * 2
}

func channelBuffered(n int, t *timer) int {
	channel := make(chan int, 128)
	var stop int32
	go func() {
		for atomic.LoadInt32(&stop) == 0 {
			channel <- 1
		}
		close(channel)
	}()
	t.start()
	for i := 0; i < n; i++ {
		<-channel
	}
	t.stop()
	atomic.StoreInt32(&stop, 1)
	for range channel {
	}
	return n
}

func echo(there, back chan int) {
	for value := range there {
		back <- value
	}
}

func selectHopOf2(n int, t *timer) int {
	there, back, silent := make(chan int), make(chan int), make(chan int)
	go echo(there, back)
	t.start()
	for i := 0; i < n; i++ {
		there <- 1
		select {
		case <-back:
		case <-silent:
		}
	}
	t.stop()
	close(there)
	return n * 2
}

func selectHopOf8(n int, t *timer) int {
	there, back := make(chan int), make(chan int)
	var silent [7]chan int
	for i := range silent {
		silent[i] = make(chan int)
	}
	go echo(there, back)
	t.start()
	for i := 0; i < n; i++ {
		there <- 1
		select {
		case <-back:
		case <-silent[0]:
		case <-silent[1]:
		case <-silent[2]:
		case <-silent[3]:
		case <-silent[4]:
		case <-silent[5]:
		case <-silent[6]:
		}
	}
	t.stop()
	close(there)
	return n * 2
}

func fanOutFanIn(n int, t *timer) int {
	const workers = 8
	work, done := make(chan int, 64), make(chan int, 64)
	var running sync.WaitGroup
	running.Add(workers)
	for i := 0; i < workers; i++ {
		go func() {
			for value := range work {
				done <- value
			}
			running.Done()
		}()
	}
	var stop int32
	go func() {
		for atomic.LoadInt32(&stop) == 0 {
			work <- 1
		}
		close(work)
	}()
	t.start()
	for i := 0; i < n; i++ {
		<-done
	}
	t.stop()
	atomic.StoreInt32(&stop, 1)
	go func() {
		running.Wait()
		close(done)
	}()
	for range done {
	}
	return n
}

func foreignWake(n int, t *timer) int {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	there, back := make(chan int), make(chan int)
	go echo(there, back)
	t.start()
	for i := 0; i < n; i++ {
		there <- 1
		<-back
	}
	t.stop()
	close(there)
	return n * 2
}

func mutexUncontended(n int, t *timer) int {
	var mutex sync.Mutex
	t.start()
	for i := 0; i < n; i++ {
		mutex.Lock()
		mutex.Unlock()
	}
	t.stop()
	return n
}

func mutexContended(n int, t *timer) int {
	var mutex sync.Mutex
	stop, locked := false, 0
	const kOthers = 7
	var others sync.WaitGroup
	others.Add(kOthers)
	for i := 0; i < kOthers; i++ {
		go func() {
			for goOn := true; goOn; {
				mutex.Lock()
				locked++
				goOn = !stop
				mutex.Unlock()
			}
			others.Done()
		}()
	}
	t.start()
	for i := 0; i < n; i++ {
		mutex.Lock()
		locked++
		mutex.Unlock()
	}
	t.stop()
	mutex.Lock()
	stop = true
	mutex.Unlock()
	others.Wait()
	return locked
}

func skynet(parent chan int, first, leaves int) {
	if leaves == 1 {
		parent <- first
		return
	}
	children := make(chan int)
	for i := 0; i < 10; i++ {
		go skynet(children, first+i*(leaves/10), leaves/10)
	}
	sum := 0
	for i := 0; i < 10; i++ {
		sum += <-children
	}
	parent <- sum
}

func skynetTrees(leaves int) func(int, *timer) int {
	grow := func() {
		root := make(chan int)
		go skynet(root, 0, leaves)
		if <-root != leaves*(leaves-1)/2 {
			panic("the sum is wrong")
		}
	}
	return func(n int, t *timer) int {
		grow()
		t.start()
		for i := 0; i < n; i++ {
			grow()
		}
		t.stop()
		return n
	}
}

func skynetByJoin(first, leaves int) int {
	if leaves == 1 {
		return first
	}
	var children sync.WaitGroup
	var sums [10]int
	children.Add(10)
	for i := 0; i < 10; i++ {
		go func(i int) {
			sums[i] = skynetByJoin(first+i*(leaves/10), leaves/10)
			children.Done()
		}(i)
	}
	children.Wait()
	sum := 0
	for _, each := range sums {
		sum += each
	}
	return sum
}

func skynetByJoinTrees(leaves int) func(int, *timer) int {
	grow := func() {
		if skynetByJoin(0, leaves) != leaves*(leaves-1)/2 {
			panic("the sum is wrong")
		}
	}
	return func(n int, t *timer) int {
		grow()
		t.start()
		for i := 0; i < n; i++ {
			grow()
		}
		t.stop()
		return n
	}
}

func sleepWake(fibers int) func(int, *timer) int {
	const sleeps = 10
	return func(n int, t *timer) int {
		for iteration := 0; iteration < n; iteration++ {
			var ready, gate, done sync.WaitGroup
			ready.Add(fibers)
			gate.Add(1)
			done.Add(fibers)
			for i := 0; i < fibers; i++ {
				go func(i int) {
					ready.Done()
					gate.Wait()
					random := uint32(i)
					for n := 0; n < sleeps; n++ {
						random = random*1664525 + 1013904223
						time.Sleep(time.Duration(1000+(random>>8)%99000) * time.Microsecond)
					}
					done.Done()
				}(i)
			}
			ready.Wait()
			t.start()
			gate.Done()
			done.Wait()
			t.stop()
		}
		return n * fibers * sleeps
	}
}

// The part of Google Benchmark's JSON that compare reads.
type result struct {
	Name           string  `json:"name"`
	Iterations     int     `json:"iterations"`
	ItemsPerSecond float64 `json:"items_per_second"`
}

// measure repeats with more iterations until they take minTime, as Google Benchmark does.
func measure(b benchmark, minTime time.Duration) result {
	runtime.GOMAXPROCS(b.processors)
	runtime.GC()
	for n := 1; ; {
		t := timer{wall: b.wall}
		items := b.run(n, &t)
		if t.elapsed >= minTime || n >= 1e9 || b.once {
			return result{b.name, n, float64(items) / t.elapsed.Seconds()}
		}
		factor := 10.0
		if t.elapsed > minTime/10 {
			factor = 1.4 * minTime.Seconds() / t.elapsed.Seconds()
		}
		if next := int(float64(n) * factor); next > n {
			n = next
		} else {
			n++
		}
	}
}

func runtimeMain(arguments []string) {
	flags := flag.NewFlagSet("runtime", flag.ExitOnError)
	filter := flags.String("filter", ".", "regular expression over names")
	minTime := flags.Duration("min_time", 500*time.Millisecond, "to measure each for")
	small := flags.Bool("small", false, "1,000 leaves and 100 sleepers")
	flags.Parse(arguments)
	wanted := regexp.MustCompile(*filter)
	output := struct {
		Benchmarks []result `json:"benchmarks"`
	}{[]result{}}
	for _, b := range benchmarks(*small) {
		if wanted.MatchString(b.name) {
			output.Benchmarks = append(output.Benchmarks, measure(b, *minTime))
		}
	}
	json.NewEncoder(os.Stdout).Encode(output)
}
