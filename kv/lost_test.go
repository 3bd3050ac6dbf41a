package kv

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"roomd/bus"

	"github.com/nats-io/nats.go/jetstream"
)

// watched opens records that are watched until the test ends, and soon speak.
func watched(t *testing.T, cfg Storage) (*Records, jetstream.JetStream) {
	t.Helper()
	conn, err := bus.Open(t.Context(), bus.Config{Server: bus.ServerConfig{Dir: t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	cfg.LostFor = 500 * time.Millisecond
	records, err := OpenRecords(t.Context(), conn, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var watch sync.WaitGroup
	watch.Go(func() { records.Watch(ctx) })
	t.Cleanup(func() {
		cancel()
		watch.Wait()
		conn.Close()
	})
	return records, conn.JetStream()
}

// says waits until Trouble has a text in it, or says nothing.
func (s *Records) says(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for got := s.Trouble(); text == "" && got != "" || !strings.Contains(got, text); got = s.Trouble() {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			t.Fatalf("Trouble = %q, want %q", got, text)
		}
	}
}

func TestRecordsThatCannotBeWrittenAreTrouble(t *testing.T) {
	records, js := watched(t, Storage{})
	records.says(t, "")
	full := streamConfig(Storage{Bucket: defaultBucket})
	full.MaxBytes = 1
	if _, err := js.UpdateStream(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	if _, err := records.Create(t.Context(), "chat.a", nil, ""); err == nil {
		t.Error("a full stream took a write")
	}
	records.says(t, "records cannot be written for ")
	full.MaxBytes = -1
	if _, err := js.UpdateStream(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	records.says(t, "")
}

func TestLostRecordsAreMadeAgainWithTheSecrets(t *testing.T) {
	records, js := watched(t, Storage{Lost: LostMake})
	secret, err := records.Secret(t.Context(), "resume")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := records.Create(t.Context(), "chat.a", nil, ""); err != nil {
		t.Fatal(err)
	}
	before := records.Generation()
	if err := js.DeleteStream(t.Context(), "KV_"+defaultBucket); err != nil {
		t.Fatal(err)
	}
	records.says(t, "records are lost")
	records.says(t, "")
	if after := records.Generation(); after != before+1 {
		t.Errorf("generation %d after %d", after, before)
	}
	if again, err := records.Secret(t.Context(), "resume"); err != nil || string(again) != string(secret) {
		t.Errorf("another secret, %v", err)
	}
	if _, err := records.Create(t.Context(), "chat.a", nil, ""); err != nil {
		t.Errorf("create in the new bucket: %v", err)
	}
}

func TestLostRecordsOfAFileStoreAreWaitedForIfThereWereAny(t *testing.T) {
	records, js := watched(t, Storage{})
	if _, err := records.Create(t.Context(), "chat.a", nil, ""); err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), "KV_"+defaultBucket); err != nil {
		t.Fatal(err)
	}
	records.says(t, "it is waited for, see -lost-store")
	records.says(t, "for 1 s that there is no stream") // it would have been made by now
	if _, err := js.CreateStream(t.Context(), streamConfig(Storage{Bucket: defaultBucket})); err != nil {
		t.Fatal(err)
	}
	records.says(t, "")
}

func TestHoldsOfAShardThatBeganAnewAreLaterThanAllBefore(t *testing.T) {
	first := FirstEpoch(time.UnixMilli(1e12))
	for _, begun := range []uint64{first, FirstEpoch(time.UnixMilli(1e12 + 1))} {
		o := newOwner(t)
		o.shard = NewShard(begun, o.shard.subjects)
		o.shard.Begin(o.now)
		o.want(o.ask(request{session: 7, hello: true}, run(1, "HOLD", "lock", "mine", "1000")), reply(1, ":"+decimal(int64(begun))+"\r\n"))
	}
}
