package kv_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"roomd/kv"
)

// What is kept is in Redis's shapes, and every method does what the command of
// the same name does there.
func Example() {
	ctx := context.Background()
	var store kv.Store = kv.NewMemory() // one for this process; Open's is everybody's
	defer store.Close()

	online, err := store.HIncrBy(ctx, "rooms", "chess", 1)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("rooms of chess:", online)

	if _, err := store.ZAdd(ctx, "rating", kv.Scored{Member: "ann", Score: 1612}, kv.Scored{Member: "bob", Score: 1540}); err != nil {
		log.Fatal(err)
	}
	best, err := store.ZRevRange(ctx, "rating", 0, 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("best:", best)

	if _, ok, err := store.Get(ctx, "session:7"); err != nil {
		log.Fatal(err)
	} else if !ok {
		fmt.Println("no such session")
	}
	// Output:
	// rooms of chess: 1
	// best: [{ann 1612}]
	// no such session
}

func ExampleStore_Atomically() {
	ctx := context.Background()
	store := kv.NewMemory()
	defer store.Close()
	if err := store.Set(ctx, "ann", "5"); err != nil {
		log.Fatal(err)
	}

	pay := func(from, to string, coins int64) error {
		return store.Atomically(ctx, []string{from}, func(tx kv.Tx) error {
			s, _, err := tx.Get(ctx, from)
			if err != nil {
				return err
			}
			if has, _ := strconv.ParseInt(s, 10, 64); has < coins {
				return fmt.Errorf("%s has %d coins", from, has)
			}
			tx.IncrBy(from, -coins)
			tx.IncrBy(to, coins)
			return nil
		})
	}
	fmt.Println(pay("ann", "bob", 3))
	fmt.Println(pay("ann", "bob", 3))
	// Output:
	// <nil>
	// ann has 2 coins
}

func ExampleStore_Hold() {
	store := kv.NewMemory()
	defer store.Close()
	for range 2 {
		err := store.Hold(context.Background(), "nightly", 10*time.Second, func(ctx context.Context, epoch uint64) error {
			// Nobody else is here until ctx ends. What is written elsewhere
			// carries the epoch, so that a late write can be refused.
			fmt.Println("run", epoch)
			return nil
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// run 1
	// run 2
}

func ExampleMemory_Save() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "kv")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "kv")

	before := kv.NewMemory()
	defer before.Close()
	if _, err := before.RPush(ctx, "queue", "ann", "bob"); err != nil {
		log.Fatal(err)
	}
	if err := before.Save(file); err != nil {
		log.Fatal(err)
	}

	after := kv.NewMemory()
	defer after.Close()
	if err := after.Load(file); err != nil {
		log.Fatal(err)
	}
	fmt.Println(after.LRange(ctx, "queue", 0, -1))
	// Output:
	// [ann bob] <nil>
}
