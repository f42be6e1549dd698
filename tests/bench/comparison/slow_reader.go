package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// A slow reader takes slowPiece bytes, waits slowPause, and so on: 6 MiB in a second. Its own socket keeps no more than a piece.
const (
	slowPiece = 64 << 10
	slowPause = 10 * time.Millisecond
)

// runSlowReader has one client read all stacks slowly, and tells what the server comes to occupy for it meanwhile.
func runSlowReader(s side, o options, t *table) error {
	p, err := startParked(s, o, plain, true)
	if err != nil {
		return err
	}
	defer p.kill()
	url := fmt.Sprintf("http://%s/debug/pprof/goroutine?debug=2", p.address)
	// The first dump of all reads debug information, which is not asked here.
	if _, err := fetch(url); err != nil {
		return err
	}
	if _, err := p.park(); err != nil {
		return err
	}
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
	n, err := fetchSlowly(url, o.slowTime)
	if err != nil {
		return err
	}
	late, err := p.ticker()
	if err != nil {
		return err
	}
	peak, err := peakKiB(p.pid())
	if err != nil {
		return err
	}
	t.add(s, "SlowReader/growth", (peak-before)/1024)
	t.add(s, "SlowReader/bytes_read", float64(n))
	late.add(s, "SlowReader/", t)
	return p.finish()
}

// fetchSlowly reads a reply to its end, or for so long from its beginning, and then breaks it off.
func fetchSlowly(url string, limit time.Duration) (int, error) {
	dial := func(_ context.Context, network, address string) (net.Conn, error) {
		connection, err := net.Dial(network, address)
		if err != nil {
			return nil, err
		}
		return connection, connection.(*net.TCPConn).SetReadBuffer(slowPiece)
	}
	client := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s", url, response.Status)
	}
	read, piece := 0, make([]byte, slowPiece)
	for start := time.Now(); time.Since(start) < limit; time.Sleep(slowPause) {
		n, err := io.ReadFull(response.Body, piece)
		read += n
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return read, err
		}
	}
	return read, nil
}
