package kv

// Waiting returns how many commands wait in a store for something to come: the
// next has its place in line behind them.
func Waiting(s Store) (n int) {
	switch s := s.(type) {
	case *Memory:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.waiting
	case *remote:
		for _, shard := range s.shards {
			shard.blocks.mu.Lock()
			n += shard.blocks.asked
			shard.blocks.mu.Unlock()
		}
		return n
	}
	panic("unknown store")
}
