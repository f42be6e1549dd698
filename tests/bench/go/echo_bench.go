package main

// The echo server of ../echo_bench.cc on Go's net package, with the same client: a bare epoll loop on a thread of its own.

import (
	"net"
	"runtime"
	"syscall"
)

const (
	echoConnections  = 64
	echoMessageBytes = 64
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func echoServe(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer connection.Close()
			message := make([]byte, echoMessageBytes)
			for {
				n, err := connection.Read(message)
				if err != nil {
					return
				}
				if _, err := connection.Write(message[:n]); err != nil {
					return
				}
			}
		}()
	}
}

func echo64(n int, t *timer) int {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	must(err)
	go echoServe(listener)
	defer listener.Close()

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	must(err)
	defer syscall.Close(epoll)
	address := syscall.SockaddrInet4{Port: listener.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	message := make([]byte, echoMessageBytes)
	for i := 0; i < echoConnections; i++ {
		socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		must(err)
		defer syscall.Close(socket)
		must(syscall.Connect(socket, &address))
		must(syscall.SetsockoptInt(socket, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1))
		must(syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, socket, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(socket)}))
		_, err = syscall.Write(socket, message)
		must(err)
	}
	var events [echoConnections + 1]syscall.EpollEvent
	ready, next := 0, 0
	step := func() {
		for next == ready {
			next = 0
			if ready, err = syscall.EpollWait(epoll, events[:], -1); err != nil {
				ready = 0
			}
		}
		socket := int(events[next].Fd)
		next++
		if size, err := syscall.Read(socket, message); err != nil || size != echoMessageBytes {
			panic("a short echo")
		}
		_, err := syscall.Write(socket, message)
		must(err)
	}
	for i := 0; i < 10*echoConnections; i++ {
		step()
	}
	t.start()
	for i := 0; i < n; i++ {
		step()
	}
	t.stop()
	return n
}
