package engine

import "bytes"

// Pages is how many pages the keys are on.
const Pages = 64

// Slots is how many slots there are, as in Redis Cluster.
const Slots = 16384

// PageOf returns the page of a key: 256 slots make one.
func PageOf(key []byte) int { return int(Slot(key) >> 8) }

// Slot returns the slot of a key, as Redis Cluster has it: if there is something
// between the first { and the next }, nothing else of the key counts.
func Slot(key []byte) uint16 {
	if open := bytes.IndexByte(key, '{'); open >= 0 {
		if n := bytes.IndexByte(key[open+1:], '}'); n > 0 {
			key = key[open+1 : open+1+n]
		}
	}
	var crc uint16
	for _, c := range key {
		crc = crc<<8 ^ crc16[byte(crc>>8)^c]
	}
	return crc % Slots
}

// crc16 is of the XMODEM kind.
var crc16 = func() (table [256]uint16) {
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}()
