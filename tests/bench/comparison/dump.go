package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"time"
)

// runDump has one client fetch the goroutine profile in its three forms, while a fiber that wants to run every millisecond
// tells how late it was.
func runDump(s side, o options, t *table) error {
	p, err := startParked(s, o, 10, true)
	if err != nil {
		return err
	}
	defer p.kill()
	var parkNs float64
	if err := p.ask("park", "parked %f", &parkNs); err != nil {
		return err
	}
	// Parking disturbs the ticker; that is not asked here.
	if _, _, err := p.ticker(); err != nil {
		return err
	}
	time.Sleep(o.idleTime)
	p99, worst, err := p.ticker()
	if err != nil {
		return err
	}
	t.add(s, "Dump/idle/ticker_p99", p99)
	t.add(s, "Dump/idle/ticker_worst", worst)
	for debug, repeats := range []int{5, 5, 2} {
		if err := measureDump(s, o, p, debug, repeats, t); err != nil {
			return err
		}
	}
	return p.finish()
}

// ticker is how late the ticker was since the last call, in microseconds.
func (p *parkedProgram) ticker() (p99, worst float64, err error) {
	var count float64
	err = p.ask("ticker", "ticker %f %f %f", &count, &p99, &worst)
	return p99 / 1e3, worst / 1e3, err
}

func measureDump(s side, o options, p *parkedProgram, debug, repeats int, t *table) error {
	name := fmt.Sprintf("Dump/debug:%d/", debug)
	url := fmt.Sprintf("http://%s/debug/pprof/goroutine?debug=%d", p.address, debug)
	before, err := residentKiB(p.pid())
	if err != nil {
		return err
	}
	if err := resetPeak(p.pid()); err != nil {
		return err
	}
	if _, _, err := p.ticker(); err != nil {
		return err
	}
	var reply reply
	var times []float64
	for i := 0; i <= repeats; i++ {
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
	p99, worst, err := p.ticker()
	if err != nil {
		return err
	}
	peak, err := peakKiB(p.pid())
	if err != nil {
		return err
	}
	t.add(s, name+"time", median(times))
	t.add(s, name+"bytes", float64(reply.bytes))
	t.add(s, name+"ticker_p99", p99)
	t.add(s, name+"ticker_worst", worst)
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
