// Package cluster runs a whole roomd system as real processes on loopback, for
// tests that kill: NATS servers, edges and workers, each with ports, data and a
// log of its own; or one process that is everything.
//
//	c, err := cluster.Start(ctx, cluster.Config{Edges: 2, Workers: 3})
//	defer c.Stop()
//	c.URLs()                 // where clients connect, one URL an edge
//	c.Workers[1].Kill()      // SIGKILL; returns when the process is gone
//	c.Workers[1].Start(ctx)  // again, same ports and data; returns when it is ready
//	c.Edges[0].Pause()       // SIGSTOP, until Resume
//	c.NATS[2].Term()         // SIGTERM; returns when the process has ended
//	c.Workers[0].Usage(ctx)  // goroutines and descriptors
//	c.NATS[0].Disk.Fill(ctx) // no room left until ctx ends, with Config.SmallDisks
//	c.Workers[0].Slice()     // a tenth of the CPU, until Release
//	c.Listen(ctx)            // subscribe to everything, as an operator may
//	c.Crashes()              // processes that ended without being asked
//
// With Config.Links each edge and worker reaches NATS through a Link, and NATS
// servers reach each other so: Links can be cut, stalled, held one way, delayed
// and healed.
//
// # What you can rely on
//
// Start returns when all processes are ready. Only processes started here are
// ever signalled. When Stop has returned, or when this process has died (Linux
// only), none of them is left.
//
// # What you can't
//
// Ports are looked for and then taken: another program may take one in between,
// and Start fails. They lie below the range for outgoing connections, so that a
// process that is down finds its port free when it comes back.
package cluster
