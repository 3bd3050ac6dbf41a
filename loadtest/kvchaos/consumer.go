package kvchaos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Consumers live in processes of their own, so that they can be killed as
// machines die. Such a process is this program again; it tells what it got on its
// standard output, a line each, and ends when its standard input does.
//
//	w CONN           it is about to wait
//	p CONN ELEMENT   it got this
//	b CONN           its connection broke while it waited
//	e CONN ERROR     it was answered an error

// childArg is the first argument of a consumer process. What follows: the
// servers, the keys, how many connections, how long a wait may last in seconds.
const childArg = "kvchaos-consumer"

// Child reports whether this process was started to be a consumer. If so it has
// been one, and status is what to exit with.
func Child(args []string, in io.Reader, out io.Writer) (status int, is bool) {
	if len(args) == 0 || args[0] != childArg {
		return 0, false
	}
	if err := consume(args[1:], in, out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	return 0, true
}

func consume(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 4 {
		return errors.New("want addresses, keys, connections, seconds")
	}
	conns, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	wait, err := strconv.ParseFloat(args[3], 64)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, in) // the end is all there is to learn
		cancel()
	}()
	lines := &lineWriter{out: out}
	t := &tally{errors: make(map[string]int)}
	var consuming sync.WaitGroup
	for i := range conns {
		consuming.Go(func() {
			c := newClient(strings.Split(args[0], ","), os.Getpid()+i, uint64(i), t)
			keys := strings.Split(args[1], ",")
			for ctx.Err() == nil {
				k := i % len(keys)
				c.pop(ctx, lines, i, append(append([]string{}, keys[k:]...), keys[:k]...), wait)
			}
			_ = c.close() // nothing is under way on it
		})
	}
	consuming.Wait()
	return lines.err
}

// pop waits once, and tells.
func (c *client) pop(ctx context.Context, lines *lineWriter, id int, keys []string, seconds float64) {
	if !c.ready(ctx) {
		return
	}
	command := append([]string{"BRPOP"}, keys...)
	command = append(command, strconv.FormatFloat(seconds, 'f', -1, 64))
	lines.write("w %d\n", id)
	v, fate := c.doWithin(ctx, patience+time.Duration(seconds*float64(time.Second)), command...)
	switch {
	case fate == Acked && len(v.Elems) == 2:
		lines.write("p %d %s\n", id, v.Elems[1].Text)
	case fate == Acked: // nothing in all the time
	case c.conn == nil:
		lines.write("b %d\n", id)
	default: // an error gives nothing to anybody
		lines.write("e %d %s\n", id, v.Text)
		sleep(ctx, firstAgain)
	}
}

// A lineWriter writes whole lines, each with one write: what was written is there
// even if the process is killed right after it.
type lineWriter struct {
	mu  sync.Mutex // guards what follows
	out io.Writer
	err error
}

func (l *lineWriter) write(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := fmt.Fprintf(l.out, format, args...); err != nil && l.err == nil {
		l.err = err
	}
}

// readLines has each line of a consumer seen until its output ends.
func readLines(out io.Reader, see func(verb string, conn string, element string)) error {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		words := strings.SplitN(lines.Text(), " ", 3)
		if len(words) < 2 {
			return fmt.Errorf("a consumer says %q", lines.Text())
		}
		words = append(words, "")
		see(words[0], words[1], words[2])
	}
	return lines.Err()
}
