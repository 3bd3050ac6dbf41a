package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// tallies writes counts by name, in the order of the names.
func tallies(counts map[string]uint64) string {
	if len(counts) == 0 {
		return ""
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, counts[name]))
	}
	return "(" + strings.Join(parts, ", ") + ")"
}
