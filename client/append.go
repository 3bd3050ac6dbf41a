package client

// Builders of the frames that a client sends. Each appends one frame to b, so
// several can share one WebSocket message; data is raw msgpack, nil for none.

// A Hello is the first frame of a connection; all its fields are optional.
type Hello struct {
	User   string // an anonymous user's name, where that is allowed
	Token  string // what the deployment's login gave
	Resume string // of an earlier welcome: brings that session back
}

// AppendHello appends a hello.
func AppendHello(b []byte, h Hello) []byte {
	b = append(appendArray(b, 2), FrameHello)
	head := len(b)
	b = append(b, 0x80)
	for _, field := range [...][2]string{{"user", h.User}, {"token", h.Token}, {"resume", h.Resume}} {
		if field[1] != "" {
			b = appendString(appendString(b, field[0]), field[1])
			b[head]++ // a fixmap holds its length in the low bits
		}
	}
	return b
}

// AppendJoin appends a join. An empty id means any open room of the kind. since
// is nil unless an earlier connection of the session was in the room, as member.
func AppendJoin(b []byte, ref uint64, kind, id string, options []byte, since *Position, member uint32) []byte {
	n := 4
	switch {
	case since != nil:
		n = 6
	case options != nil:
		n = 5
	}
	b = append(appendArray(b, n), FrameJoin)
	b = appendUint(b, ref)
	b = appendString(b, kind)
	b = appendString(b, id)
	if n > 4 {
		b = appendData(b, options)
	}
	if since != nil {
		b = appendArray(b, 5)
		b = appendUint(b, since.Epoch)
		b = appendUint(b, since.Seq)
		b = appendUint(b, since.Count)
		b = appendUint(b, since.Ver)
		b = appendUint(b, uint64(member))
	}
	return b
}

// AppendLeave appends a leave, which gives the seat up.
func AppendLeave(b []byte, ref uint64, room uint32) []byte {
	b = append(appendArray(b, 3), FrameLeave)
	return appendUint(appendUint(b, ref), uint64(room))
}

// AppendSend appends a command. n = 0 wants no reply; acked is the highest
// number up to which every reply has come.
func AppendSend(b []byte, room uint32, n uint64, event string, data []byte, acked uint64) []byte {
	size := 4
	switch {
	case acked > 0:
		size = 6
	case data != nil:
		size = 5
	}
	b = append(appendArray(b, size), FrameSend)
	b = appendUint(b, uint64(room))
	b = appendUint(b, n)
	b = appendString(b, event)
	if size > 4 {
		b = appendData(b, data)
	}
	if acked > 0 {
		b = appendUint(b, acked)
	}
	return b
}

// AppendPing appends a ping that the edge answers with the same x.
func AppendPing(b []byte, x uint64) []byte {
	return appendUint(append(appendArray(b, 2), FramePing), x)
}

// AppendList appends a request for open rooms: of one kind, or all if kind is
// empty; limit 0 means the server's default of 100.
func AppendList(b []byte, ref uint64, kind string, limit int) []byte {
	b = append(appendArray(b, 4), FrameList)
	b = appendString(appendUint(b, ref), kind)
	return appendUint(b, uint64(max(limit, 0)))
}

func appendData(b, data []byte) []byte {
	if data == nil {
		return append(b, 0xc0)
	}
	return append(b, data...)
}
