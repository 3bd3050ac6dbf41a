// Command roomd is a whole server: an edge, a worker and NATS in one process,
// with a few kinds of room to look at and pages that use them.
package main

import "roomd"

func main() { roomd.Main(roomd.Options{Pages: pages()}, kinds()...) }
