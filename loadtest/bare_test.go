//go:build linux

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roomd/loadtest/target"
)

const (
	bareConns = 1000
	bareRooms = 10
	bareRate  = 200 // messages a second, each to bareConns/bareRooms conns
	bareSize  = 140 // a message of 128 bytes with its envelope
)

// BenchmarkBareServer is what a delivery costs on this machine without roomd: a
// goroutine per conn and one net.Conn.Write per member, with no rooms, protocol
// or bus. It is the yardstick for "loadtest chat -rooms 10 -rate 200": compare
// both within the same minutes, since shared hosts drift.
func BenchmarkBareServer(b *testing.B) {
	if addr := os.Getenv("ROOMD_BARE_SERVER"); addr != "" {
		if err := readBare(addr); err != nil {
			b.Fatal(err)
		}
		return
	}
	if runtime.NumCPU() < 2 {
		b.Skip("needs a core for the server and one for its clients")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	reader := exec.Command(os.Args[0], "-test.run=^$", "-test.bench=^BenchmarkBareServer$", "-test.benchtime=1x")
	reader.Env = append(os.Environ(), "ROOMD_BARE_SERVER="+listener.Addr().String())
	if err := reader.Start(); err != nil {
		b.Fatal(err)
	}
	if err := target.PinSelf([]int{0}); err != nil {
		b.Fatal(err)
	}
	conns := make([]net.Conn, bareConns)
	read := make(chan struct{}, bareConns)
	for i := range conns {
		if conns[i], err = listener.Accept(); err != nil {
			b.Fatal(err)
		}
		go func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096)) // nobody sends: this ends with the conn
			read <- struct{}{}
		}(conns[i])
	}
	message := make([]byte, bareSize)
	tick := time.NewTicker(time.Second / bareRate)
	defer tick.Stop()
	send := func(messages int) {
		for i := range messages {
			<-tick.C
			for k := i % bareRooms; k < bareConns; k += bareRooms {
				if _, err := conns[k].Write(message); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	send(bareRate) // warm up for a second
	before := target.OwnCPU()
	send(5 * bareRate)
	used := target.OwnCPU() - before
	b.ReportMetric(float64(used.Nanoseconds())/1e3/(5*bareRate*bareConns/bareRooms), "µs/delivery")
	for _, c := range conns {
		c.Close()
	}
	for range conns {
		<-read
	}
	if err := reader.Wait(); err != nil {
		b.Fatal(err)
	}
}

// readBare is the clients' side, in a process of its own: one epoll loop, like
// the generator's.
func readBare(addr string) error {
	if err := target.PinSelf([]int{1}); err != nil {
		return err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(epoll)
	var files []*os.File // kept: a collected file closes its descriptor
	for range bareConns {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		file, err := conn.(*net.TCPConn).File()
		conn.Close()
		if err != nil {
			return err
		}
		files = append(files, file)
		fd := int(file.Fd())
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			return err
		}
	}
	events, buffer := make([]unix.EpollEvent, 256), make([]byte, 64<<10)
	for open := len(files); open > 0; {
		n, err := unix.EpollWait(epoll, events, 10_000)
		if n == 0 && err == nil {
			return fmt.Errorf("nothing to read for 10 s, %d conns still open", open)
		}
		for _, ev := range events[:max(n, 0)] {
			if n, err := unix.Read(int(ev.Fd), buffer); n == 0 || err != nil {
				_ = unix.EpollCtl(epoll, unix.EPOLL_CTL_DEL, int(ev.Fd), nil)
				open--
			}
		}
	}
	runtime.KeepAlive(files)
	return nil
}
