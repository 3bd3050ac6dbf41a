package kv

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"roomd/kv/resp"
)

// A doer runs a command in Redis's form and returns its reply, which the caller
// may keep. An error is the way's; Redis's own are replies.
type doer interface {
	do(ctx context.Context, argv [][]byte) (reply []byte, err error)
}

// Commands are the methods of a [Store] that come down to commands, over
// whatever runs those.
type commands struct {
	to       doer
	maxValue int // bytes of one argument
}

const defaultMaxValue = 1 << 20

// MostMaxValue is how large [Config].MaxValue may be.
const MostMaxValue = 4 << 20

func newCommands(to doer, cfg Config) commands {
	limit := cfg.MaxValue
	if limit <= 0 {
		limit = defaultMaxValue
	}
	return commands{to, min(limit, MostMaxValue)}
}

// call runs the command of the words and then the rest. What it returns is not
// an error of Redis's.
func (c *commands) call(ctx context.Context, rest []string, words ...string) (resp.Value, error) {
	argv, err := c.argv(rest, words)
	if err != nil {
		return resp.Value{}, during(argv, err)
	}
	reply, err := c.to.do(ctx, argv)
	if err != nil {
		return resp.Value{}, during(argv, err)
	}
	v, _, err := resp.Parse(reply)
	if err == nil {
		err = errorOf(v)
	}
	return v, during(argv, err)
}

// argv puts a command into one piece of memory. It returns it also with an error.
func (c *commands) argv(rest, words []string) ([][]byte, error) {
	size := 0
	var err error
	for _, list := range [2][]string{words, rest} {
		for _, s := range list {
			if size += len(s); len(s) > c.maxValue {
				err = errArgument(len(s), c.maxValue)
			}
		}
	}
	argv := make([][]byte, 0, len(words)+len(rest))
	b := make([]byte, 0, size)
	for _, list := range [2][]string{words, rest} {
		for _, s := range list {
			at := len(b)
			b = append(b, s...)
			argv = append(argv, b[at:len(b):len(b)])
		}
	}
	return argv, err
}

// checkSizes is for commands that came from elsewhere than argv.
func (c *commands) checkSizes(argv [][]byte) error {
	for _, arg := range argv {
		if len(arg) > c.maxValue {
			return errArgument(len(arg), c.maxValue)
		}
	}
	return nil
}

// during says which command an error is of.
func during(argv [][]byte, err error) error {
	switch {
	case err == nil:
		return nil
	case len(argv) < 2:
		return fmt.Errorf("%s: %w", argv[0], err)
	}
	return fmt.Errorf("%s %.80q: %w", argv[0], argv[1], err)
}

// badReply is for replies of another form than Redis's, from nobody we know.
func badReply(name string, v resp.Value) error {
	return fmt.Errorf("%s: %w: kind %q", name, errReply, v.Kind)
}

// The following run a command and take its reply for what their name says.

func (c *commands) status(ctx context.Context, words ...string) error {
	_, err := c.call(ctx, nil, words...)
	return err
}

func (c *commands) number(ctx context.Context, words ...string) (int64, error) {
	v, err := c.call(ctx, nil, words...)
	if err == nil && v.Kind != ':' {
		err = badReply(words[0], v)
	}
	return v.Int, err
}

func (c *commands) count(ctx context.Context, words ...string) (int, error) {
	n, err := c.number(ctx, words...)
	return int(n), err
}

func (c *commands) yes(ctx context.Context, words ...string) (bool, error) {
	n, err := c.number(ctx, words...)
	return n > 0, err
}

// countOf is count for commands that need at least one of the rest.
func (c *commands) countOf(ctx context.Context, rest []string, words ...string) (int, error) {
	if len(rest) == 0 {
		return 0, during(bytesOf(words), errArity(words[0]))
	}
	v, err := c.call(ctx, rest, words...)
	if err == nil && v.Kind != ':' {
		err = badReply(words[0], v)
	}
	return int(v.Int), err
}

// text takes null for not ok.
func (c *commands) text(ctx context.Context, words ...string) (s string, ok bool, err error) {
	v, err := c.call(ctx, nil, words...)
	if err != nil || v.Null() {
		return "", false, err
	}
	if v.Kind != '$' && v.Kind != '+' {
		return "", false, badReply(words[0], v)
	}
	return string(v.Text), true, nil
}

func (c *commands) float(ctx context.Context, words ...string) (f float64, ok bool, err error) {
	v, err := c.call(ctx, nil, words...)
	if err != nil || v.Null() {
		return 0, false, err
	}
	if v.Kind != ',' {
		return 0, false, badReply(words[0], v)
	}
	return v.Float, true, nil
}

func (c *commands) texts(ctx context.Context, words ...string) ([]string, error) {
	v, err := c.call(ctx, nil, words...)
	if err != nil {
		return nil, err
	}
	return textsOf(words[0], v)
}

// textsFor is texts for commands that need at least one of the rest.
func (c *commands) textsFor(ctx context.Context, rest []string, words ...string) ([]string, error) {
	if len(rest) == 0 {
		return nil, during(bytesOf(words), errArity(words[0]))
	}
	v, err := c.call(ctx, rest, words...)
	if err != nil {
		return nil, err
	}
	return textsOf(words[0], v)
}

func textsOf(name string, v resp.Value) ([]string, error) {
	if v.Kind != '*' && v.Kind != '~' {
		return nil, badReply(name, v)
	}
	texts := make([]string, len(v.Elems))
	for i, e := range v.Elems {
		texts[i] = string(e.Text)
	}
	return texts, nil
}

func bytesOf(words []string) [][]byte {
	argv := make([][]byte, len(words))
	for i, w := range words {
		argv[i] = []byte(w)
	}
	return argv
}

func decimal[T int | int64](n T) string { return strconv.FormatInt(int64(n), 10) }

// milliseconds rounds up, so that nothing ends early.
func milliseconds(d time.Duration) string {
	ms := d.Milliseconds()
	if d > time.Duration(ms)*time.Millisecond {
		ms++
	}
	return decimal(ms)
}

// lifetime is milliseconds for commands that refuse to let things end at once.
func lifetime(command string, ttl time.Duration) (string, error) {
	if ttl <= 0 {
		return "", refused("invalid expire time in '%s' command", command)
	}
	return milliseconds(ttl), nil
}
