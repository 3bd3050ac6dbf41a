package bus

import (
	"strings"
	"unicode/utf8"
)

// Limits of names, in bytes.
const (
	MaxKind  = 32
	MaxID    = 64
	MaxEvent = 64
	MaxUser  = 64
	MaxNode  = 64
)

// ValidKind reports whether s may name a kind of room: [a-z0-9_-]{1,32}, and no
// underscore first: those are roomd's own.
func ValidKind(s string) bool { return validKind(s) && s[0] != '_' }

func validKind(s string) bool {
	return validToken(s, MaxKind, func(c byte) bool { return 'a' <= c && c <= 'z' || isDigit(c) || c == '_' || c == '-' })
}

// ValidID reports whether s may be a room's id: [A-Za-z0-9_-]{1,64}.
func ValidID(s string) bool { return validToken(s, MaxID, isTokenByte) }

// ValidNode reports whether s may name a node: [A-Za-z0-9_-]{1,64}.
func ValidNode(s string) bool { return validToken(s, MaxNode, isTokenByte) }

// ValidEvent reports whether s may name an event: UTF-8 of 1 to 64 bytes.
func ValidEvent(s string) bool { return s != "" && len(s) <= MaxEvent && utf8.ValidString(s) }

// ValidUser reports whether s may name a user: UTF-8 of 1 to 64 bytes without
// control characters.
func ValidUser(s string) bool {
	if s == "" || len(s) > MaxUser || !utf8.ValidString(s) {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 })
}

// Key returns the name of a room in the whole system: "kind.id". Both parts
// must be valid; neither can contain a dot.
func Key(kind, id string) string { return kind + "." + id }

// SplitKey is the reverse of Key. ok is false unless both parts are valid, or
// could be roomd's own.
func SplitKey(key string) (kind, id string, ok bool) {
	kind, id, ok = strings.Cut(key, ".")
	return kind, id, ok && validKind(kind) && ValidID(id)
}

func validToken(s string, limit int, valid func(byte) bool) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for i := range len(s) {
		if !valid(s[i]) {
			return false
		}
	}
	return true
}

func isTokenByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || isDigit(c) || c == '_' || c == '-'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
