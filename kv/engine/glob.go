package engine

// Match reports whether s matches a glob pattern as Redis takes it: * any bytes,
// ? any one, [abc] [a-c] [^a] one of these or none of these, \ takes the next
// byte for itself. What is never closed counts as if it were at the end.
func Match(pattern, s []byte) bool {
	// After a mismatch, the last * takes one byte more. Earlier ones need not:
	// whatever they could take, the last can make up for.
	var star, tried []byte
	starred := false
	for {
		if len(pattern) > 0 && pattern[0] == '*' {
			for len(pattern) > 0 && pattern[0] == '*' {
				pattern = pattern[1:]
			}
			if len(pattern) == 0 {
				return true
			}
			star, tried, starred = pattern, s, true
			continue
		}
		if len(pattern) == 0 && len(s) == 0 {
			return true
		}
		if len(pattern) > 0 && len(s) > 0 {
			if rest, ok := matchOne(pattern, s[0]); ok {
				pattern, s = rest, s[1:]
				continue
			}
		}
		if !starred || len(tried) == 0 {
			return false
		}
		tried = tried[1:]
		pattern, s = star, tried
	}
}

// matchOne matches the beginning of a pattern that is no * with one byte.
func matchOne(pattern []byte, c byte) (rest []byte, ok bool) {
	switch {
	case pattern[0] == '?':
		return pattern[1:], true
	case pattern[0] == '[':
		return matchClass(pattern[1:], c)
	case pattern[0] == '\\' && len(pattern) > 1:
		return pattern[2:], pattern[1] == c
	}
	return pattern[1:], pattern[0] == c
}

// matchClass matches what follows [.
func matchClass(p []byte, c byte) (rest []byte, ok bool) {
	not := len(p) > 0 && p[0] == '^'
	if not {
		p = p[1:]
	}
	in := false
	for len(p) > 0 && p[0] != ']' {
		switch {
		case p[0] == '\\' && len(p) >= 2:
			in = in || p[1] == c
			p = p[2:]
		case len(p) >= 3 && p[1] == '-':
			in = in || min(p[0], p[2]) <= c && c <= max(p[0], p[2])
			p = p[3:]
		default:
			in = in || p[0] == c
			p = p[1:]
		}
	}
	if len(p) > 0 {
		p = p[1:]
	}
	return p, in != not
}
