package engine

import (
	"strconv"
	"strings"
	"testing"
)

func BenchmarkDo(b *testing.B) {
	for _, c := range []struct{ name, setup, command string }{
		{"GET", "SET key:%d xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "GET key:%d"},
		{"SET", "", "SET key:%d xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
		{"SETEX", "", "SETEX key:%d 100 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
		{"INCR", "", "INCR key:%d"},
		{"INCR of one key", "", "INCR key"},
		{"HSET", "", "HSET h field:%d value"},
		{"HINCRBY", "", "HINCRBY h field:%d 1"},
		{"SADD", "", "SADD s member:%d"},
		{"RPUSH", "", "RPUSH l element:%d"},
		{"ZADD", "", "ZADD z %d member:%d"},
	} {
		b.Run(c.name, func(b *testing.B) {
			e := New(0, nil)
			var commands [100_000][][]byte
			numbered := func(command string, i int) [][]byte {
				return split(strings.ReplaceAll(command, "%d", strconv.Itoa(i)))
			}
			for i := range commands {
				if c.setup != "" {
					e.Do(testNow, numbered(c.setup, i), nil)
				}
				commands[i] = numbered(c.command, i)
			}
			reply := make([]byte, 0, 1024)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				reply, _ = e.Do(testNow, commands[i%len(commands)], reply[:0])
				e.ResetEffects()
			}
		})
	}
}
