//go:build race

package reactor

// raceEnabled: memory and times are the race detector's, not ours.
const raceEnabled = true
