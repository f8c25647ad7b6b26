package mount

import "time"

// monitorTick bounds how long Go's monitor thread sleeps while a mount is served.
const monitorTick = 100 * time.Millisecond

// watchMonitor keeps Go's monitor thread (sysmon) from sleeping for long, until
// done is closed.
//
// Go 1.26 loses sight of a thread that enters a system call in the moment in which
// the world is to be stopped: it has looked for that before it is marked as being
// in a system call (runtime.reentersyscall), and who is in one is not preempted
// (preemptone). Its processor is then taken away by the monitor alone, which has
// gone to sleep, because the world stops, until the next timer or for a minute. So
// a thread that begins to wait for requests while garbage is collected can keep
// all others from running for that minute. Go 1.25 has not got this; once no
// supported version has, this can go.
//
// The timer is set when watchMonitor returns: a goroutine with a ticker may not
// get to run before the first stop.
func watchMonitor(done <-chan struct{}) {
	var t *time.Timer
	t = time.AfterFunc(time.Hour, func() {
		select {
		case <-done:
		default:
			t.Reset(monitorTick)
		}
	})
	t.Reset(monitorTick)
}
