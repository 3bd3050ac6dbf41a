package kv

import (
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"roomd/bus"
)

// cpu is the time all threads of the process have run.
func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkAppend has appenders that write one entry of 200 bytes after
// another, as a room does. The CPU is that of the embedded server too.
func BenchmarkAppend(b *testing.B) {
	for _, appenders := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint("appenders=", appenders), func(b *testing.B) {
			_, logs := openLogs(b, bus.Config{Server: bus.ServerConfig{Dir: b.TempDir()}})
			log := begin(b, logs, "w-1")
			entry := make([]byte, 200)
			mustWrite(b, log, entry)
			b.ReportAllocs()
			b.ResetTimer()
			used := cpu(b)
			appendFrom(b, log, entry, appenders)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
			b.ReportMetric(float64((cpu(b)-used).Nanoseconds())/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(b.N)/float64(log.Stats().Messages), "entries/message")
		})
	}
}

// appendFrom appends b.N entries in all, each appender's next one from the done
// of the one before.
func appendFrom(b *testing.B, log *Log, entry []byte, appenders int) {
	var all sync.WaitGroup
	for i := range appenders {
		left := b.N / appenders
		if i < b.N%appenders {
			left++
		}
		if left == 0 {
			continue
		}
		all.Add(1)
		var done func(uint64, error)
		done = func(_ uint64, err error) {
			if err != nil {
				b.Error(err)
			}
			if left--; left == 0 || err != nil {
				all.Done()
				return
			}
			log.Append(entry, done)
		}
		log.Append(entry, done)
	}
	all.Wait()
}

// BenchmarkRead reads a log of 64,000 entries of 200 bytes: written under load,
// and as slowly as can be, one entry a message.
func BenchmarkRead(b *testing.B) {
	const entries = 64_000
	for name, alone := range map[string]bool{"full-messages": false, "entry-a-message": true} {
		b.Run(name, func(b *testing.B) {
			_, logs := openLogs(b, bus.Config{Server: bus.ServerConfig{Dir: b.TempDir()}})
			log := begin(b, logs, "w-1")
			entry := make([]byte, 200)
			var all sync.WaitGroup
			for range entries {
				all.Add(1)
				log.Append(entry, func(uint64, error) { all.Done() })
				if alone {
					all.Wait()
				}
			}
			all.Wait()
			b.ResetTimer()
			for range b.N {
				n := 0
				err := logs.Read(b.Context(), "w-1", func(uint64, []byte) error { n++; return nil })
				if err != nil || n != entries {
					b.Fatalf("Read = %d entries, %v", n, err)
				}
			}
		})
	}
}
