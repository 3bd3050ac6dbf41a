package client

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

// A wire is one connection of a Client: frames in, frames out. A goroutine writes
// what is pushed; read is called by the client's own.
type wire struct {
	conn   net.Conn
	stream stream
	ahead  io.Reader     // what came with the upgrade's response; nil: nothing
	silent time.Duration // longest silence of a living server
	ending *CloseError
	handle func(f *Frame) bool // gets each frame; false ends reading

	mu      sync.Mutex // guards out, full and closing; never held during I/O
	out     []byte     // masked WebSocket frames
	full    bool       // out was over its limit: the connection is cut
	closing bool       // a close frame is in out: nothing may follow it
	kick    chan struct{}
	gone    chan struct{} // closed by cut
	once    sync.Once
	writer  sync.WaitGroup
}

// openWire connects to url, says hello and waits for the welcome.
func openWire(ctx context.Context, cfg *Config, url string, h Hello) (*wire, Welcome, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Handshake)
	defer cancel()
	d := ws.Dialer{Protocols: []string{ProtocolMsgpack}, TLSConfig: cfg.TLS, NetDial: cfg.NetDial}
	conn, br, hs, err := d.Dial(ctx, url)
	if err != nil {
		return nil, Welcome{}, err
	}
	w := &wire{conn: conn, kick: make(chan struct{}, 1), gone: make(chan struct{})}
	if br != nil {
		w.ahead = io.LimitReader(br, int64(br.Buffered()))
	}
	if hs.Protocol != ProtocolMsgpack {
		w.cut()
		return nil, Welcome{}, errors.New("the server does not speak " + ProtocolMsgpack)
	}
	w.writer.Go(w.writeAll)
	w.push(AppendHello(nil, h))
	welcome, err := w.welcome(ctx)
	if err != nil {
		w.cut()
		w.writer.Wait()
		return nil, Welcome{}, err
	}
	w.silent = 2*time.Duration(welcome.Ping)*time.Second + 10*time.Second
	return w, welcome, nil
}

// welcome reads up to the first frame, which is a welcome or a refusal.
func (w *wire) welcome(ctx context.Context) (welcome Welcome, err error) {
	stop := context.AfterFunc(ctx, w.cut)
	defer stop()
	var refused error
	w.handle = func(f *Frame) bool {
		switch f.Type {
		case FrameHello:
			welcome, refused = ParseWelcome(f.Data)
			return false
		case FrameError:
			refused = f.Err()
		}
		return true
	}
	err = w.read()
	switch {
	case ctx.Err() != nil:
		return Welcome{}, ctx.Err()
	case refused != nil:
		return Welcome{}, refused
	case err != nil && w.ending != nil && w.ending.Bye != "":
		return Welcome{}, errors.Join(&Error{Code: w.ending.Bye, Message: w.ending.Reason}, err)
	}
	return welcome, err
}

// read hands frames to handle until it says stop (nil), or the connection ends
// (a *CloseError). Frames of one WebSocket message behind a stop are kept.
func (w *wire) read() error {
	b := make([]byte, 16<<10)
	var extended time.Time
	for {
		if now := time.Now(); w.silent > 0 && now.Sub(extended) > time.Second {
			extended = now
			if err := w.conn.SetReadDeadline(now.Add(w.silent)); err != nil {
				return w.ended(err)
			}
		}
		n, err := w.readSome(b)
		if n > 0 {
			stop, err := w.feed(b[:n])
			if err != nil {
				return w.ended(err)
			}
			if stop {
				return nil
			}
		}
		if err != nil {
			return w.ended(err)
		}
	}
}

func (w *wire) readSome(b []byte) (int, error) {
	if w.ahead != nil {
		n, err := w.ahead.Read(b)
		if err != io.EOF {
			return n, err
		}
		w.ahead = nil
	}
	return w.conn.Read(b)
}

// feeding is the sink of a wire's stream.
type feeding struct {
	w    *wire
	stop bool // handle said so
	err  error
}

func (w *wire) feed(b []byte) (stop bool, err error) {
	in := feeding{w: w}
	if err := w.stream.feed(b, &in); err != nil {
		return false, err
	}
	if in.err == nil && w.ending != nil && w.ending.Code != CloseAbnormal {
		in.err = io.EOF // the close frame has come
	}
	return in.stop, in.err
}

func (in *feeding) onMessage(payload []byte) bool {
	var f Frame
	for len(payload) > 0 {
		rest, err := ParseFrame(&f, payload)
		if err != nil {
			in.err = err
			return false
		}
		payload = rest
		if f.Type == FrameBye {
			in.w.ending = byeOf(&f)
		}
		if !in.w.handle(&f) {
			in.stop = true
			return true // a welcome has no frames behind it: joins come first
		}
	}
	return true
}

func (in *feeding) onControl(opcode byte, payload []byte) bool {
	w := in.w
	switch opcode {
	case opPing:
		w.control(opPong, payload)
	case opClose:
		if w.ending == nil {
			w.ending = &CloseError{Retry: -1}
		}
		code, reason := parseClose(payload)
		w.ending.Code = code
		if reason != "" {
			w.ending.Reason = reason
		}
		w.control(opClose, payload[:min(2, len(payload))])
		return false
	}
	return true
}

// ended makes a CloseError of how reading ended.
func (w *wire) ended(cause error) error {
	if w.ending == nil {
		w.ending = &CloseError{Code: CloseAbnormal, Retry: -1}
	}
	if w.ending.Code == CloseAbnormal {
		w.ending.Cause = cause
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.full {
			w.ending.Cause = errors.New("the server does not read")
		}
	}
	return w.ending
}

// push queues frames as one WebSocket message. It never blocks: if the server
// doesn't read and 1 MiB waits already, the connection is cut.
func (w *wire) push(frames []byte) { w.queue(opBinary, frames) }

func (w *wire) control(opcode byte, payload []byte) { w.queue(opcode, payload) }

func (w *wire) queue(opcode byte, payload []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closing || w.full {
		return
	}
	if len(w.out)+len(payload) > maxOut {
		w.full = true
		w.cut()
		return
	}
	w.closing = opcode == opClose
	start := len(w.out)
	w.out = beginFrame(w.out, opcode, rand.Uint32())
	w.out = append(w.out, payload...)
	head := endFrame(w.out, start)
	// The head took less than its room: move the frame down to the others.
	w.out = append(w.out[:start], w.out[head:]...)
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// close begins the closing handshake.
func (w *wire) close(code int) { w.control(opClose, closePayload(nil, code, "")) }

// sayGoodbye waits, not for long, until a close frame that was queued is out.
func (w *wire) sayGoodbye() {
	w.mu.Lock()
	closing := w.closing
	w.mu.Unlock()
	if !closing {
		return
	}
	if err := w.conn.SetWriteDeadline(time.Now().Add(farewell)); err != nil {
		w.cut()
	}
	w.writer.Wait()
}

// cut ends the connection at once.
func (w *wire) cut() {
	w.once.Do(func() {
		close(w.gone)
		w.conn.Close()
	})
}

// writeAll writes what is pushed, all that has gathered at a time.
func (w *wire) writeAll() {
	var writing []byte
	for {
		select {
		case <-w.kick:
		case <-w.gone:
			return
		}
		w.mu.Lock()
		writing, w.out = w.out, writing[:0]
		last := w.closing
		w.mu.Unlock()
		if _, err := w.conn.Write(writing); err != nil {
			w.cut() // read tells why, if the server said so
			return
		}
		if last {
			return
		}
	}
}
