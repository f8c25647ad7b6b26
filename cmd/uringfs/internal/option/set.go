package option

import (
	"errors"
	"fmt"
	"time"
)

func setTimeout(to *time.Duration, value string) (err error) {
	*to, err = parseTimeout(value)
	return err
}

// setStage sets a stage of the unmount, where 0 means not to wait at all.
func setStage(to *time.Duration, value string) error {
	if err := setTimeout(to, value); err != nil {
		return err
	}
	if *to == 0 {
		*to = -1
	}
	return nil
}

func setSize(to *int, value string) (err error) {
	*to, err = parseSize(value)
	if err == nil && *to == 0 {
		err = errors.New("must be more than 0")
	}
	return err
}

func setCount(to *int, value string) (err error) {
	*to, err = parseCount(value)
	if err == nil && *to == 0 {
		err = errors.New("must be more than 0")
	}
	return err
}

// maxWorkers is more than a kernel lets a process have by default.
const maxWorkers = 32768

func setWorkers(to *int, value string) error {
	err := setCount(to, value)
	if err == nil && *to > maxWorkers {
		err = fmt.Errorf("more than %d", maxWorkers)
	}
	return err
}
