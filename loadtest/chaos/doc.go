// Package chaos proves what roomd promises about failures: it starts a cluster,
// puts load on it, kills, hangs, drains and cuts off its parts by a schedule, and
// checks everything that its clients were told against what the rooms hold in
// the end.
//
// # The run
//
// A run is a Config with a seed: the schedule and the load follow from it, though
// not the moment at which each process notices. Clients are client.Client: they
// come back by themselves to any edge. Each has a seat in one ledger room and
// sends, by the clock and not by the answers, numbered commands: add with an id
// of its own, put, get and cas on registers. The schedule ends early enough for
// everything to be up again while the load still runs; then the load ends, and the
// run waits until clients and rooms agree, or 40 s.
//
// # What is done
//
// Processes are killed, restarted, drained, killed while they drain, stopped, held to
// a tenth of their CPU; two workers one after the other, all workers, a majority of
// the NATS servers. Links of nodes are cut, held in one direction or both, slowed;
// NATS servers are cut off from each other. By name only: the store is lost, disks
// are full (byName says why). What a sort takes is bounded, in how many
// processes of a role and in how long, and is mended before the quiet end; Named
// lists all. A Done says of each what it hit and whether that made a difference: an
// abort whose victim had drained already, or a cut of a link without a connection,
// shows nothing.
//
// When the store was lost a run asks no more of its rooms than that members hear of
// it: what had been acknowledged before the reset may be gone, and registers are not
// checked.
//
// # What is checked
//
// How often, is in the result.
//
//   - acked: an add that got a reply is in the list once, at the place replied
//   - once: no other add is there twice, and none that was refused
//   - order: a client's acked adds are in the order in which it sent them
//   - heard: each client heard the room's broadcasts in order by seq, and each
//     place of the list once, unless it was told recovered: false or reset
//   - agreed: what it heard is what the list holds
//   - presence: in the end all members of a room see the same members
//   - registers: some order of all puts, gets and cas explains all answers
//     (linearizability)
//   - leaks: when all clients have gone, goroutines and descriptors of every node
//     are back near where they were before the first came
//   - sockets: no connection was lost while its edge lived
//   - crashes: no process ended but those that were killed or asked to
//
// In rooms of a kind that may lose what is newer than its last record a reset
// excuses what was lost before it; registers of such a room are not checked. The
// result says how much time the losses span.
//
// # Outages
//
// A room's outage by a fault is the longest time between two acks in the room,
// counted from the fault on, less the interval between the commands sent to it.
// Quantiles are over the rooms that a fault affected: those whose members were
// told paused, resumed or reset, and those out for over 100 ms. A Pulse measures how
// late the run's own process was: that is taken out of outages and of the run's own
// patience, and told by itself. A slow machine is no violation, and no excuse.
package chaos
