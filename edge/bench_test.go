package edge

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Benchmarks of the transport alone. The server is this test binary again, in a
// process of its own (so that its CPU and memory can be told from the
// clients'), which echoes every message, and sends those that begin with "*" to
// everyone. Run them with, for example,
//
//	EDGE_CPU=0 taskset -c 1 go test ./edge -run - -bench Wire -benchtime 3x
//
// where EDGE_CPU pins the server. What counts is the custom metrics: the
// server's CPU per message, and its memory per conn.

// serverMode, in the environment, makes the test binary that server; its value
// is the number of loops.
const serverMode = "EDGE_BENCH_SERVER"

// benchServer serves until its input ends. Each line of input is answered with
// the server's CPU time in nanoseconds, its resident memory in bytes, and how
// many writes and frames it has written.
func benchServer(loops string) {
	n, err := strconv.Atoi(loops)
	if err != nil {
		panic(err)
	}
	t, err := listen(Config{Addr: "127.0.0.1:0", Loops: n, MaxConns: 19_500, Log: slog.New(slog.DiscardHandler)}, "test")
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := t.serve(ctx, func(l *loop) hooks { return &benchHooks{l: l} }); err != nil {
			panic(err)
		}
	})
	fmt.Println(t.addr)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if in.Text() == "memory" {
			runtime.GC()
			debug.FreeOSMemory()
		}
		st := t.stats()
		fmt.Println(int64(cpuTime()), residentBytes(), st.writes, st.framesOut)
	}
	cancel()
	running.Wait()
}

// benchHooks echo, and send to everyone.
type benchHooks struct {
	l   *loop
	all []*conn
	buf []byte
}

func (h *benchHooks) opened(c *conn) { h.all = append(h.all, c) }

func (h *benchHooks) message(c *conn, text bool, payload []byte) {
	if len(h.buf) < len(payload)+maxHeaderBytes {
		h.buf = make([]byte, 64<<10)
	}
	frame := appendFrame(h.buf[:0:len(payload)+maxHeaderBytes], opcode(text), payload)
	h.buf = h.buf[len(frame):] // frames don't change once sent: the next has other bytes
	if len(payload) == 0 || payload[0] != '*' {
		c.send(frame, false)
		return
	}
	for _, c := range h.all {
		c.send(frame, false)
	}
}

func (h *benchHooks) closed(*conn)        {}
func (h *benchHooks) drained(*conn)       {}
func (h *benchHooks) envelopes([]*busMsg) {}
func (h *benchHooks) turn(time.Time)      {}
func (h *benchHooks) second(time.Time)    {}
func (h *benchHooks) draining(time.Time)  {}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func residentBytes() int {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0 // not Linux
	}
	var size, resident int
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		panic(err)
	}
	return resident * os.Getpagesize()
}

// A benchRun is a server process with clients connected.
type benchRun struct {
	b     *testing.B
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	addr  string
	socks []net.Conn
}

func newBenchRun(b *testing.B, loops int) *benchRun {
	b.Helper()
	r := &benchRun{b: b, cmd: exec.Command(os.Args[0])}
	if cpu := os.Getenv("EDGE_CPU"); cpu != "" {
		r.cmd = exec.Command("taskset", "-c", cpu, os.Args[0])
	}
	r.cmd.Env = append(os.Environ(), serverMode+"="+strconv.Itoa(loops))
	r.cmd.Stderr = os.Stderr
	in, err := r.cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	r.in, r.out = in, bufio.NewReader(out)
	b.Cleanup(r.end)
	r.addr = strings.TrimSpace(r.line())
	return r
}

// end closes the clients and waits for the server; once is enough.
func (r *benchRun) end() {
	for _, sock := range r.socks {
		_ = sock.Close()
	}
	r.socks = nil
	if r.in.Close() != nil {
		return
	}
	if err := r.cmd.Wait(); err != nil {
		r.b.Errorf("server: %v", err)
	}
}

func (r *benchRun) line() string {
	r.b.Helper()
	line, err := r.out.ReadString('\n')
	if err != nil {
		r.b.Fatal(err)
	}
	return line
}

type usage struct{ cpu, resident, writes, frames int }

func (r *benchRun) ask(what string) (u usage) {
	r.b.Helper()
	if _, err := fmt.Fprintln(r.in, what); err != nil {
		r.b.Fatal(err)
	}
	if _, err := fmt.Sscan(r.line(), &u.cpu, &u.resident, &u.writes, &u.frames); err != nil {
		r.b.Fatal(err)
	}
	return u
}

// connect opens n more WebSockets, up to 64 at a time.
func (r *benchRun) connect(n int) {
	r.b.Helper()
	request := []byte(upgradeRequest(r.addr, "Origin: http://"+r.addr+"\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"))
	opened := make([]net.Conn, n)
	var running sync.WaitGroup
	for i := range 64 {
		running.Go(func() {
			for j := i; j < n; j += 64 {
				opened[j] = r.dial(request)
			}
		})
	}
	running.Wait()
	for _, sock := range opened {
		if sock != nil {
			r.socks = append(r.socks, sock)
		}
	}
	if r.b.Failed() {
		r.b.FailNow()
	}
}

func (r *benchRun) dial(request []byte) net.Conn {
	sock, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.b.Error(err)
		return nil
	}
	buf := make([]byte, 1024)
	if _, err := sock.Write(request); err != nil {
		r.b.Error(err)
	} else if got, err := sock.Read(buf); err != nil || !bytes.HasPrefix(buf[:got], []byte("HTTP/1.1 101")) {
		r.b.Errorf("upgrade: %q, %v", buf[:got], err)
	}
	return sock
}

// each runs fn for all sockets, on the given number of goroutines.
func (r *benchRun) each(goroutines int, fn func(sock net.Conn)) {
	var running sync.WaitGroup
	for i := range goroutines {
		running.Go(func() {
			for j := i; j < len(r.socks); j += goroutines {
				fn(r.socks[j])
			}
		})
	}
	running.Wait()
}

func BenchmarkWireIdle(b *testing.B) {
	for b.Loop() {
		const conns = 10_000
		r := newBenchRun(b, 1)
		r.connect(1) // the first page, and what else is there for any number
		before := r.ask("memory")
		r.connect(conns)
		b.ReportMetric(float64(r.ask("cpu").cpu-before.cpu)/conns/1000, "server-µs/upgrade")
		b.ReportMetric(float64(r.ask("memory").resident-before.resident)/conns, "resident-B/conn")
		r.end()
	}
}

func BenchmarkWireEcho(b *testing.B) {
	for _, conns := range []int{1000, 9000} {
		b.Run(fmt.Sprintf("conns=%d", conns), func(b *testing.B) {
			const rounds, inFlight = 20, 256
			r := newBenchRun(b, 1)
			r.connect(conns)
			frame := maskedFrame(nil, fin|opText, [4]byte{1, 2, 3, 4}, bytes.Repeat([]byte("e"), 64))
			before, n, start := r.ask("cpu"), 0, time.Now()
			for b.Loop() {
				for range rounds {
					r.each(inFlight, func(sock net.Conn) { echoOnce(b, sock, frame) })
					n += conns
				}
			}
			after := r.ask("cpu")
			b.ReportMetric(float64(after.cpu-before.cpu)/float64(n)/1000, "server-µs/roundtrip")
			b.ReportMetric(float64(n)/time.Since(start).Seconds(), "roundtrips/s")
		})
	}
}

func echoOnce(b *testing.B, sock net.Conn, frame []byte) {
	var buf [128]byte
	if _, err := sock.Write(frame); err != nil {
		b.Error(err)
	}
	if _, err := io.ReadFull(sock, buf[:len(frame)-4]); err != nil {
		b.Error(err)
	}
}

func BenchmarkWireFanOut(b *testing.B) {
	for _, atOnce := range []int{1, 8} {
		b.Run(fmt.Sprintf("conns=1000/messages=%d", atOnce), func(b *testing.B) {
			const conns, rounds = 1000, 100
			r := newBenchRun(b, 1)
			r.connect(conns)
			payload := bytes.Repeat([]byte("*"), 128)
			frames := bytes.Repeat(maskedFrame(nil, fin|opText, [4]byte{1, 2, 3, 4}, payload), atOnce)
			size := atOnce * len(appendFrame(nil, opText, payload))
			before, start := r.ask("cpu"), time.Now()
			for b.Loop() {
				for range rounds {
					if _, err := r.socks[0].Write(frames); err != nil {
						b.Fatal(err)
					}
					r.each(8, func(sock net.Conn) {
						if _, err := io.CopyN(io.Discard, sock, int64(size)); err != nil {
							b.Error(err)
						}
					})
				}
			}
			took, after := time.Since(start), r.ask("cpu")
			deliveries := float64(b.N * rounds * conns * atOnce)
			b.ReportMetric(float64(after.cpu-before.cpu)/deliveries/1000, "server-µs/delivery")
			b.ReportMetric(deliveries/took.Seconds(), "deliveries/s")
			await(b, "the counts of the last tick", func() bool { u := r.ask("cpu"); return u.frames >= int(deliveries) })
			b.ReportMetric(float64(r.ask("cpu").writes-before.writes)/deliveries, "writes/delivery")
		})
	}
}

// BenchmarkParse is a frame's way through parser and hooks, without sockets.
func BenchmarkParse(b *testing.B) {
	for _, size := range []int{64, 1024} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			l, h := bareLoop(b, Config{})
			h.onMessage = func(*conn, bool, []byte) {}
			c := h.bareConn()
			frame := maskedFrame(nil, fin|opText, [4]byte{}, bytes.Repeat([]byte("p"), size))
			b.ReportAllocs()
			b.SetBytes(int64(len(frame)))
			for b.Loop() {
				l.readFrames(c, frame)
			}
		})
	}
}
