package rooms

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"roomd/bus"
	"roomd/kv"
)

// This file is about how a shard's pages are written, and loaded by the next
// owner: see package kv, pages.go.

// A pageWrite is a page on its way to its record.
type pageWrite struct {
	page     int
	number   uint64 // of the last entry in it
	value    []byte
	revision uint64
	done     bool
}

// A loadedShard is a shard that was brought up to date.
type loadedShard struct {
	shard     *kv.Shard
	revisions [kv.Pages]uint64
}

func (w *Worker) newShard(epoch uint64) *loadedShard {
	return &loadedShard{shard: kv.NewShard(epoch, w.conn.Subjects())}
}

// shardHead is what a shard's own record has for a snapshot: how many shards
// there are.
func (w *Worker) shardHead() []byte { return bus.AppendUint(nil, uint64(w.cfg.KVShards)) }

// loadAtOnce is how many pages are read or written at the same time.
const loadAtOnce = 16

// loadShard loads a shard that had an owner before: its pages, and what the log
// has behind them, which is written to the pages at once, as that log goes.
func (w *Worker) loadShard(ctx context.Context, key string, rec record, entries []entryHead) (*loadedShard, error) {
	rd := bus.NewReader(rec.snapshot)
	if n := rd.Uint(); rd.Err() != nil || n != uint64(w.cfg.KVShards) {
		return nil, bus.Errorf(bus.BadOptions, "kv was set up with %d shards, and this worker is told %d", n, w.cfg.KVShards)
	}
	began := time.Now()
	l := &loadedShard{shard: kv.NewShard(rec.epoch+1, w.conn.Subjects())}
	if err := w.loadPages(ctx, key, l); err != nil {
		return nil, err
	}
	for i := range entries {
		if e := &entries[i]; e.epoch == rec.epoch {
			if err := l.shard.Replay(e.number, e.rd.Rest()); err != nil {
				return nil, err
			}
		}
	}
	j := job{room: &Room{key: key, epoch: rec.epoch + 1}}
	for _, page := range l.shard.Fresh() {
		j.pages = append(j.pages, &pageWrite{
			page: page, number: l.shard.Number(), value: l.shard.AppendPage(nil, page), revision: l.revisions[page],
		})
	}
	err := w.writeFresh(ctx, j)
	if errors.Is(err, errFenced) {
		err = kv.ErrConflict // another worker has claimed the shard meanwhile
	}
	if err != nil {
		return nil, err
	}
	for _, p := range j.pages {
		l.revisions[p.page] = p.revision
	}
	w.cfg.Log.Info("shard loaded", "shard", key, "epoch", rec.epoch+1, "keys", l.shard.Keys(), "bytes", l.shard.Bytes(),
		"entries", len(entries), "pages", len(j.pages), "ms", time.Since(began).Milliseconds())
	return l, nil
}

func (w *Worker) loadPages(ctx context.Context, key string, l *loadedShard) error {
	var values [kv.Pages][]byte
	var mu sync.Mutex
	var failed error
	pages := make([]int, kv.Pages)
	for i := range pages {
		pages[i] = i
	}
	atOnce(loadAtOnce, pages, func(i int) {
		entry, err := w.store.Get(ctx, kv.PageKey(key, i))
		switch {
		case err == nil:
			values[i], l.revisions[i] = entry.Value, entry.Revision
		case !errors.Is(err, kv.ErrNotFound):
			mu.Lock()
			defer mu.Unlock()
			failed = err
		}
	})
	if failed != nil {
		return failed
	}
	for i, value := range values {
		if l.revisions[i] == 0 {
			continue
		}
		if err := l.shard.Load(i, value); err != nil {
			return err
		}
	}
	return nil
}

// writeFresh writes all pages of a job, some at once.
func (w *Worker) writeFresh(ctx context.Context, j job) error {
	var mu sync.Mutex
	var failed error
	atOnce(loadAtOnce, j.pages, func(p *pageWrite) {
		if err := w.keeper.writePage(ctx, j, p); err != nil {
			mu.Lock()
			defer mu.Unlock()
			failed = err
		}
	})
	return failed
}

// writePages writes those pages of a job that are not written yet.
func (k *keeper) writePages(ctx context.Context, j job) error {
	for _, p := range j.pages {
		if p.done {
			continue
		}
		if err := k.writePage(ctx, j, p); err != nil {
			return err
		}
	}
	return nil
}

// writePage is one compare-and-set. A conflict is no proof of another owner, as
// in keeper.write; a later epoch in the page is, or a later entry: of two who
// claim a shard in the same epoch both write what they have loaded, and one may
// find out late that the other has won. An owner that was replaced may
// still overwrite a page of its successor's first moments: what it writes is
// committed, and nothing that the successor has changed since is in that page's
// record yet, but in its log.
func (k *keeper) writePage(ctx context.Context, j job, p *pageWrite) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout+time.Duration(len(p.value))*pageByteTime)
	defer cancel()
	key := kv.PageKey(j.room.key, p.page)
	m := &k.worker.metrics
	for tries := 0; ; tries++ {
		var err error
		m.writes.Inc()
		m.writeBytes.Add(float64(len(p.value)))
		revision := p.revision
		if revision == 0 {
			revision, err = k.worker.store.Create(ctx, key, p.value, "")
		} else {
			revision, err = k.worker.store.Update(ctx, key, p.value, "", revision)
		}
		if err == nil {
			p.revision, p.done = revision, true
			return nil
		}
		m.writeErrors.Inc()
		if tries == 3 || !errors.Is(err, kv.ErrConflict) && !errors.Is(err, kv.ErrExists) {
			return err
		}
		entry, err := k.worker.store.Get(ctx, key)
		if err != nil {
			return err
		}
		head, err := kv.ParsePageHead(entry.Value)
		switch {
		case err != nil:
			return err
		case head.Epoch > j.room.epoch, head.Epoch == j.room.epoch && head.Number > p.number:
			return fmt.Errorf("%w: page %d, epoch %d, entry %d", errFenced, p.page, head.Epoch, head.Number)
		}
		p.revision = entry.Revision
		if bytes.Equal(entry.Value, p.value) {
			p.done = true
			return nil
		}
	}
}

// pageByteTime is what a byte of a large page may take more: 10 MB a second.
const pageByteTime = 100 * time.Nanosecond

// pageEvery is how often a page is written at the most, unless the log gets long:
// all of them in ten seconds.
const pageEvery = recordAfter / kv.Pages

// watchPages writes the page that lacks the oldest entry, when its time has come.
// The bounds are those of rooms' records, with more room where there is much
// data: loading that takes longer than reading the log.
func (r *Room) watchPages() {
	k, l, now := r.keys, r.trail, r.turn.now
	if r.phase != live || r.saving || now < l.notBefore {
		return
	}
	page, first, since := k.shard.Oldest()
	if first == 0 {
		k.changed = 0
		return
	}
	log, size := r.own.log, uint64(k.shard.Bytes())
	long := log.Last() > first+max(uint64(r.worker.behind.Load()), size>>12) ||
		log.Bytes() > since+max(recordTail, size/4)
	much := now >= k.nextPage && k.logged >= k.shard.PageSize(page)
	quiet := now >= k.changed+int64(recordQuiet)
	if !long && !much && !quiet {
		return
	}
	k.nextPage, k.logged = now+int64(pageEvery), 0
	r.saving = true
	r.worker.keeper.add(job{room: r, pages: []*pageWrite{r.beginPage(page)}})
}

func (r *Room) beginPage(page int) *pageWrite {
	k := r.keys
	return &pageWrite{page: page, number: k.shard.Number(), value: k.shard.BeginPage(page), revision: k.revisions[page]}
}

// wrotePages is wrote for a shard.
func (r *Room) wrotePages(pages []*pageWrite, err error) {
	r.saving = false
	k := r.keys
	for _, p := range pages {
		failed := err
		if p.done {
			failed = nil
		}
		k.shard.Wrote(p.page, p.number, failed)
		k.revisions[p.page] = p.revision
	}
	if r.phase != ended {
		switch {
		case errors.Is(err, errFenced):
			r.fenced("a page names a later owner")
		case err != nil:
			r.trail.notBefore = r.turn.now + int64(saveRetry)
		}
	}
	r.trail.tail.Store(k.shard.Tail())
	if then := r.onWrote; then != nil {
		r.onWrote = nil
		then()
	}
}

// writeLastPages writes all pages that lack something, and then the record with
// which the shard is released.
func (r *Room) writeLastPages() {
	r.wanted.Store(true)
	j := job{room: r, revision: r.revision, final: true}
	for page, first, _ := r.keys.shard.Oldest(); first != 0; page, first, _ = r.keys.shard.Oldest() {
		j.pages = append(j.pages, r.beginPage(page))
	}
	head := record{epoch: r.epoch, snapshot: r.worker.shardHead()}
	j.value = head.append(nil)
	r.worker.keeper.add(j)
}
