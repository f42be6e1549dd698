package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"time"
)

// shape is what the parked fibers look like.
type shape struct {
	depth  int // calls
	stacks int // different ones
}

// plain is the shape of the suite Dump, the others are Shapes.
var (
	plain  = shape{10, 1}
	others = []shape{{10, 1000}, {30, 1}, {30, 1000}}
)

// rows is how the names of its rows in Shapes begin.
func (f shape) rows() string { return fmt.Sprintf("Shapes/depth:%d/stacks:%d/", f.depth, f.stacks) }

// runDump has one client fetch the goroutine profile in its three forms, while a fiber that wants to run every millisecond
// tells how late it was.
func runDump(s side, o options, t *table) error {
	return measureDumps(s, o, plain, "Dump/", [3]int{5, 5, 2}, t)
}

// runShapes is runDump for deeper and for more different stacks.
func runShapes(s side, o options, t *table) error {
	for _, f := range others {
		if !wantsRows(o, f.rows()) {
			continue
		}
		if err := measureDumps(s, o, f, f.rows(), [3]int{3, 3, 1}, t); err != nil {
			return err
		}
	}
	return nil
}

// measureDumps fetches each form once, and then as often as repeats says and for as long as the ticker was watched idle: it has as
// many chances to be late.
func measureDumps(s side, o options, f shape, rows string, repeats [3]int, t *table) error {
	p, err := startParked(s, o, f, true)
	if err != nil {
		return err
	}
	defer p.kill()
	if _, err := p.park(); err != nil {
		return err
	}
	// Parking disturbs the ticker; that is not asked here.
	if _, err := p.ticker(); err != nil {
		return err
	}
	time.Sleep(o.idleTime)
	late, err := p.ticker()
	if err != nil {
		return err
	}
	late.add(s, rows+"idle/", t)
	for debug, n := range repeats {
		if err := measureDump(s, o, p, debug, n, rows, t); err != nil {
			return err
		}
	}
	return p.finish()
}

// lateness of the ticker, in microseconds.
type lateness struct{ p50, p99, worst float64 }

func (l lateness) add(s side, rows string, t *table) {
	t.add(s, rows+"ticker_p50", l.p50)
	t.add(s, rows+"ticker_p99", l.p99)
	t.add(s, rows+"ticker_worst", l.worst)
}

// ticker is how late the ticker was since the last call.
func (p *parkedProgram) ticker() (lateness, error) {
	var count, p50, p99, worst float64
	err := p.ask("ticker", "ticker %f %f %f %f", &count, &p50, &p99, &worst)
	return lateness{p50 / 1e3, p99 / 1e3, worst / 1e3}, err
}

func measureDump(s side, o options, p *parkedProgram, debug, repeats int, rows string, t *table) error {
	name := fmt.Sprintf("%sdebug:%d/", rows, debug)
	url := fmt.Sprintf("http://%s/debug/pprof/goroutine?debug=%d", p.address, debug)
	before, err := residentKiB(p.pid())
	if err != nil {
		return err
	}
	if err := resetPeak(p.pid()); err != nil {
		return err
	}
	if _, err := p.ticker(); err != nil {
		return err
	}
	var reply reply
	var times []float64
	for i, begin := 0, time.Now(); i <= repeats || time.Since(begin) < o.idleTime; i++ {
		start := time.Now()
		if reply, err = fetch(url); err != nil {
			return err
		}
		took := time.Since(start).Seconds() * 1e3
		if i == 0 {
			t.add(s, name+"first", took)
		} else {
			times = append(times, took)
		}
	}
	late, err := p.ticker()
	if err != nil {
		return err
	}
	peak, err := peakKiB(p.pid())
	if err != nil {
		return err
	}
	t.add(s, name+"time", median(times))
	t.add(s, name+"bytes", float64(reply.bytes))
	late.add(s, name, t)
	t.add(s, name+"growth", (peak-before)/1024)
	if debug == 2 {
		t.add(s, name+"fibers_shown", float64(reply.fibers))
		if s == ours && reply.fibers < o.fibers {
			return fmt.Errorf("%s shows %d of %d fibers", url, reply.fibers, o.fibers)
		}
	}
	return nil
}

type reply struct {
	bytes  int
	fibers int // lines that begin a stack in the form of debug=2
}

// fetch reads a reply to its last byte and keeps nothing of it.
func fetch(url string) (reply, error) {
	response, err := http.Get(url)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return reply{}, fmt.Errorf("%s: %s", url, response.Status)
	}
	var counted stackCounter
	n, err := io.CopyBuffer(&counted, response.Body, make([]byte, 256<<10))
	return reply{int(n), counted.fibers}, err
}

// stackCounter counts lines that begin with "goroutine ", also where a line lies across two writes.
type stackCounter struct {
	fibers int
	tail   []byte // the end of what was written before, shorter than the mark
}

var stackMark = []byte("\ngoroutine ")

func (c *stackCounter) Write(p []byte) (int, error) {
	if c.tail == nil {
		c.tail = []byte("\n") // the first line begins a line, too
	}
	head := p
	if len(head) >= len(stackMark) {
		head = head[:len(stackMark)-1]
	}
	seam := append(append([]byte(nil), c.tail...), head...)
	c.fibers += bytes.Count(seam, stackMark) + bytes.Count(p, stackMark)
	end := append(c.tail, p...)
	if len(p) >= len(stackMark) {
		end = p
	}
	if len(end) >= len(stackMark) {
		end = end[len(end)-len(stackMark)+1:]
	}
	c.tail = append([]byte(nil), end...)
	return len(p), nil
}
