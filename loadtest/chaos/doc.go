// Package chaos proves what roomd promises about failures: it starts a cluster,
// puts load on it, kills, hangs, drains and cuts off its parts by a schedule, and
// checks everything that its clients were told against what the rooms hold in
// the end.
//
// # The run
//
// A run is a Config with a seed: the schedule and the load follow from it, though
// not the moment at which each process notices. Clients are client.Client: they
// come back by themselves to any edge. Each has a seat in one room and sends
// numbered commands by the clock, not by the answers. The schedule ends early enough
// for everything to be up again while the load still runs; then the load ends, and
// the run waits until clients and rooms agree, or 40 s.
//
// # The rooms
//
// Kinds names the kinds of room there are, of each durability; the seed deals them
// to the rooms. In a ledger members add ids of their own to a list, and put, get and
// cas registers. A synced room has such a list too, and its whole state goes to its
// members, with a sum of its own; members set bells, which are timers, and have the
// room tell single members something. Every reply names its command.
//
// Half of the synced rooms are quiet: a scene is two bells and two changes, then
// nothing but the bells, often while all members are away. Visitors come to synced
// rooms, stay for a second and go, from synced-brief without a word, so that their
// linger ends. Half of the members of synced rooms hear everything 100 ms late, as
// over a long line: what they send meets the room after a reset that they have not
// heard of yet.
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
//   - acked: an add that got a reply is in the list once, at the place replied; so
//     is every other command that appends its id
//   - once: no other is there twice, and none that was refused
//   - order: a client's acked adds are in the order in which it sent them
//   - real time: what was answered before another command of any client was sent is
//     before it
//   - answers: a reply is to the command that it answers
//   - heard: each client heard the room's broadcasts in order by seq, and each
//     place of the list once, unless it was told recovered: false or reset
//   - agreed: what it heard is what the list holds
//   - told alone: a member heard all messages to it alone in order, once, unless it
//     was told of a gap, and none to others
//   - states: every state that a client has, whole or patched, has the sum that the
//     room gave it; all have the same state at the same position, and no version
//     names two states, under whatever epochs; none goes back; in the end each
//     member has the room's
//   - timers: a bell that was set rings once, whoever owns the room then, and not
//     before its time
//   - presence: in the end all members of a room see the same members
//   - registers: some order of all puts, gets and cas explains all answers
//     (linearizability)
//   - leaks: when all clients have gone, goroutines and descriptors of every node
//     are back near where they were before the first came
//   - sockets: no connection was lost while its edge lived, but by the client's will
//   - crashes: no process ended but those that were killed or asked to
//
// In rooms of a kind that may lose what is newer than its last record a reset
// excuses what was lost before it; registers of such a room are not checked. The
// result says how much time the losses span, and how often each thing was checked.
//
// # Outages
//
// A room's outage by a fault is the longest time between two acks in the room,
// counted from the fault on, less the interval between the commands sent to it.
// Quantiles are over the rooms that a fault affected: those whose members were
// told paused, resumed or reset, and those out for over 100 ms. A Pulse measures how
// late the run's own process was: that is taken out of outages and of the run's own
// patience, and told by itself. A slow machine is no violation, and no excuse. Quiet rooms
// are asked too seldom to tell.
package chaos
