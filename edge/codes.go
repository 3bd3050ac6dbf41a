package edge

// Close codes of our own. They tell the client what to do: 4000–4099 come back
// (with the resume token), 4100–4199 do not.
const (
	closeShutdown = 4000 // the edge leaves; another one takes the client
	closeSlow     = 4001 // the client fell too far behind; seen by the server only, clients see the connection reset (1006)
	closeIdle     = 4002 // no sign of life
	closeLater    = 4003 // the edge cannot serve the client now

	closeBadFrame     = 4100 // not a frame of the client protocol
	closeUnauthorized = 4101 // hello missing, late or refused
	closeReplaced     = 4102 // the session continues on another connection
	closeAbuse        = 4103 // limits ignored for too long
)

// Close codes of RFC 6455.
const (
	closeNormal    = 1000
	closeProtocol  = 1002
	closeWrongSort = 1003 // text where binary is spoken, or the other way round
	closeNoStatus  = 1005 // never on the wire: the peer's close frame had no code
	closeAbnormal  = 1006 // never on the wire: no close frame came
	closeBadUTF8   = 1007
	closeTooBig    = 1009
	closeOverload  = 1013 // out of buffer space; clients see the connection reset (1006)
	closeLastAppl  = 4999
	closeFirstAppl = 3000
)

// validCloseCode says whether a peer may send code in a close frame: those that
// RFC 6455 and the IANA registry define for the wire, and the ranges for
// libraries (3000–3999) and applications (4000–4999).
func validCloseCode(code uint16) bool {
	switch {
	case code >= closeFirstAppl:
		return code <= closeLastAppl
	case code >= 1000 && code <= 1014:
		return code != 1004 && code != closeNoStatus && code != closeAbnormal
	}
	return false
}
