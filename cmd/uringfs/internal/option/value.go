package option

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// maxTimeout keeps seconds inside a time.Duration and in what the kernel can
// add to its clock. It is about 31 years.
const maxTimeout = 1e9 * time.Second

// parseTimeout reads seconds as libfuse does ("1.5") or a Go duration ("500ms").
func parseTimeout(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil {
		seconds, errFloat := strconv.ParseFloat(value, 64)
		if errFloat != nil || math.IsNaN(seconds) {
			return 0, errors.New("not a time, such as 1.5 (seconds), 500ms or 1h")
		}
		if seconds > maxTimeout.Seconds() {
			return maxTimeout, nil
		}
		d = time.Duration(seconds * float64(time.Second))
	}
	if d < 0 {
		return 0, errors.New("a time cannot be negative")
	}
	return min(d, maxTimeout), nil
}

// parseSize reads bytes, with K, M or G for the powers of 1024.
func parseSize(value string) (int, error) {
	digits, unit := value, 1
	if n := len(value); n > 0 {
		switch strings.ToUpper(value[n-1:]) {
		case "K":
			digits, unit = value[:n-1], 1<<10
		case "M":
			digits, unit = value[:n-1], 1<<20
		case "G":
			digits, unit = value[:n-1], 1<<30
		}
	}
	n, err := parseCount(digits)
	if err != nil || n > math.MaxInt/unit {
		return 0, errors.New("not a size, such as 131072, 128K or 1M")
	}
	return n * unit, nil
}

func parseCount(value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("not a count")
	}
	return n, nil
}
