package resp

// splitWords cuts a line into words as Redis does: at blanks, with "double
// quotes" that know \n \r \t \b \a \xHH and \ before anything else, and 'single
// quotes' that know \'. A quote that ends must be followed by a blank. ok is
// false if one does not end. The words do not alias the line.
func splitWords(line []byte) (words [][]byte, ok bool) {
	for {
		for len(line) > 0 && blank(line[0]) {
			line = line[1:]
		}
		if len(line) == 0 {
			return words, true
		}
		word, rest, ok := cutWord(line)
		if !ok {
			return nil, false
		}
		words, line = append(words, word), rest
	}
}

// cutWord returns the word that line begins with.
func cutWord(line []byte) (word, rest []byte, ok bool) {
	word = []byte{}
	for len(line) > 0 {
		switch c := line[0]; {
		case blank(c):
			return word, line, true
		case c == '"' || c == '\'':
			if word, line, ok = cutQuoted(word, line[1:], c); !ok {
				return nil, nil, false
			}
			return word, line, true
		default:
			word, line = append(word, c), line[1:]
		}
	}
	return word, nil, true
}

// cutQuoted appends to word what comes before the quote's end.
func cutQuoted(word, line []byte, quote byte) (_, rest []byte, ok bool) {
	for len(line) > 0 {
		c := line[0]
		switch {
		case c == quote:
			rest = line[1:]
			return word, rest, len(rest) == 0 || blank(rest[0])
		case c == '\\' && quote == '"' && len(line) >= 4 && line[1] == 'x' && hex(line[2]) >= 0 && hex(line[3]) >= 0:
			word, line = append(word, byte(hex(line[2])<<4|hex(line[3]))), line[4:]
		case c == '\\' && quote == '"' && len(line) >= 2:
			word, line = append(word, unescape(line[1])), line[2:]
		case c == '\\' && quote == '\'' && len(line) >= 2 && line[1] == '\'':
			word, line = append(word, '\''), line[2:]
		default:
			word, line = append(word, c), line[1:]
		}
	}
	return nil, nil, false
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	}
	return c
}

func hex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func blank(c byte) bool {
	return c == ' ' || '\t' <= c && c <= '\r'
}
