package client_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"roomd/client"
)

// A bot that greets whoever comes into the lounge.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := client.Dial(ctx, client.Config{URL: "ws://localhost:8080/ws", User: "Greeter"})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	newcomers := make(chan string, 100)
	room, err := c.Join(ctx, "chat", "lounge", nil, client.Events{
		Presence: func(p client.Presence) {
			for _, m := range p.Joined {
				select {
				case newcomers <- m.User:
				default: // a crowd: nobody expects a word for each
				}
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	for user := range newcomers {
		if _, err := room.Call(ctx, "say", "Hello, "+user+"!"); err != nil {
			fmt.Println(client.Code(err), err)
			return
		}
	}
}
