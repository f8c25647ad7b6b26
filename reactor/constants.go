package reactor

// What iouring-go/syscall lacks, from include/uapi/linux/io_uring.h. The
// comment names the kernel that brought it.
const (
	setupSingleIssuer uint32 = 1 << 12 // 6.0
	setupDeferTaskrun uint32 = 1 << 13 // 6.1
	setupNoSQArray    uint32 = 1 << 16 // 6.6

	enterRegisteredRing uint32 = 1 << 4 // 5.18
	enterExtArg         uint32 = 1 << 3 // 5.11

	featNoDrop  uint32 = 1 << 1 // 5.5
	featExtArg  uint32 = 1 << 8 // 5.11
	featCQESkip uint32 = 1 << 11

	registerIOWQMaxWorkers uint8 = 19 // 5.15
	registerRingFDs        uint8 = 20 // 5.18
	unregisterRingFDs      uint8 = 21 // 5.18

	sqFlagCQOverflow uint32 = 1 << 1
	sqFlagTaskrun    uint32 = 1 << 2 // 5.19

	cqFlagEventfdDisabled uint32 = 1 << 0 // 5.8

	fsyncDatasync uint32 = 1 << 0

	// maxTransfer is the most bytes one READ or WRITE moves
	// (MAX_RW_COUNT of the kernel: INT_MAX rounded down to a page).
	maxTransfer = 0x7ffff000
)
