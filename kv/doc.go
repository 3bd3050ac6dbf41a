// Package kv is what roomd keeps in JetStream. Today that is the records: one
// small value per room that says who owns it and what it was when it was last
// written.
//
// # What you can rely on
//
// A write that returned nil survives the death of any process, and every later
// read sees it: reads go to the stream's leader, never to a replica that may
// lag. Of two writers with the same revision at most one succeeds; the other
// gets [ErrConflict].
//
// # What you can't
//
// A write that returned any other error may have happened. Absence proves
// nothing: NATS was seen to bring purged keys back after a crash. So a record
// is never removed; [Records.Retire] leaves one that says it is closed, with
// whatever its writer wants to find there again. It costs about 150 bytes of
// storage for ever.
package kv
