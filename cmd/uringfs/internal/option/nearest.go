package option

import "strings"

// nearest returns the option whose name takes the fewest edits from name, or
// that name is the beginning of, if there is one near enough to be meant.
func nearest(name string) *Option {
	var best *Option
	limit := max(min(2, len(name)/2), len(name)/3)
	for _, o := range All() {
		if d := distance(name, o.Name); d <= limit {
			best, limit = o, d-1
		}
	}
	if best == nil && len(name) >= 4 {
		for _, o := range All() {
			if strings.HasPrefix(o.Name, name) || strings.HasPrefix(name, o.Name+"_") {
				return o
			}
		}
	}
	return best
}

// distance is the Levenshtein distance of a and b, with a swap of neighbours
// counted as one edit.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}
