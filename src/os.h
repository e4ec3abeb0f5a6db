/* os.h - every dealing with the kernel for memory; the only file of hakmem that knows which system it is on.
 * Each call fires os_map, os_unmap or os_purge, keeps the caller's errno when it succeeds, and says by its result (with
 * errno set by the kernel) when it fails. None takes a lock; all may be called from any thread. */
#ifndef HK_OS_H
#define HK_OS_H

#include "base.h"
#include "os_account.h"

/* What a mapping is for: told by the probes and kept in the account. */
enum os_purpose { OS_REGION, OS_SUPERSLAB, OS_LEGACY, OS_HUGE, OS_META, OS_GUARD };

/* Which limit made the kernel refuse memory, where it can be told (probes ace_fail and alloc_fail). */
enum os_limit {
    OS_LIMIT_NONE,
    OS_LIMIT_AS,
    OS_LIMIT_DATA,
    OS_LIMIT_MAP_COUNT,
    OS_LIMIT_OVERCOMMIT,
    OS_LIMIT_UNKNOWN,
    OS_LIMIT_UNASKED
};

extern HK_HIDDEN struct os_account os_account;

/* const: after heap_init(). Bytes, a page or none, that stay unreadable on either side of every mapping of os_map for OS_LEGACY and
 * OS_HUGE, and go with it. Such a mapping is only unmapped whole, and not made longer. */
extern HK_HIDDEN size_t os_guard;

/* The page size in bytes; valid after os_init(). */
extern HK_HIDDEN size_t os_page_size;

/* Learn the page size and the size of memory. Idempotent. */
HK_HIDDEN void os_init(void);

/* Bytes of physical memory; 0 if unknown. */
HK_HIDDEN uint64_t os_physical_memory(void);

/* The address space that RLIMIT_AS leaves the process in all, in bytes; UINT64_MAX when unlimited. */
HK_HIDDEN uint64_t os_address_space_limit(void);

/* The bytes that the process's memory cgroup may use before the kernel kills in it, the least of its own and its parents'
 * limit; UINT64_MAX when there is none below the machine's memory. Reads /proc and /sys; allocates nothing. */
HK_HIDDEN uint64_t os_memory_limit(void);

/* Whether the process has no `len` bytes of addresses in a row, but might if it gave some back: not where no process has so many, nor
 * where another limit is in the way (RLIMIT_DATA, max_map_count, overcommit). errno kept. */
HK_HIDDEN bool os_lacks_addresses(size_t len);

/* Reserve `len` bytes of address space, PROT_NONE, left out of core dumps. NULL when refused. */
HK_HIDDEN void *os_reserve(size_t len, size_t align);

/* Make a part of a reservation readable and writable (and part of core dumps again). */
HK_HIDDEN bool os_commit(void *ptr, size_t len, enum os_purpose purpose);

/* Put a part of a reservation back as it was: PROT_NONE, mapped afresh. */
HK_HIDDEN bool os_decommit(void *ptr, size_t len, enum os_purpose purpose);

/* Give a part of a reservation, PROT_NONE all of it, back to the system for good. */
HK_HIDDEN bool os_unreserve(void *ptr, size_t len);

/* Map `len` bytes (a multiple of the page size), zero-filled, at a multiple of `align` (a power of two). NULL when
 * refused, with errno of the kernel. In front of OS_META lies a page that can't be touched. */
HK_HIDDEN void *os_map(size_t len, size_t align, enum os_purpose purpose);

/* Unmap. False when the kernel refuses (max_map_count): the pages are then purged and the range stays the caller's. */
HK_HIDDEN bool os_unmap(void *ptr, size_t len, enum os_purpose purpose);

/* Give the pages back, keep the range: it reads as zeros afterwards. */
HK_HIDDEN bool os_purge(void *ptr, size_t len);

/* Give the pages of a mapping made by os_map back, and make it unreadable until it is unmapped. False: refused, perhaps
 * half way. */
HK_HIDDEN bool os_shut(void *ptr, size_t len);

/* Make a mapping made by os_map longer where it lies. False when refused: nothing changed. */
HK_HIDDEN bool os_grow(void *ptr, size_t old_len, size_t new_len);

/* Find addresses to move pages to: `len` bytes at a multiple of align, held, but nothing is there. NULL when refused. */
HK_HIDDEN void *os_target(size_t len, size_t align);

/* Let go of a target that was not used. errno kept. */
HK_HIDDEN void os_drop_target(void *target, size_t len);

/* Move a mapping made by os_map to a target, whose length it gets: new_len, more than old_len. False when refused: it is
 * where it was, and the target is no more. */
HK_HIDDEN bool os_move(void *ptr, size_t old_len, void *target, size_t new_len);

/* Whether the word at ptr, which may be no address any longer, reads `value`. True if the kernel does not tell. errno kept. */
HK_HIDDEN bool os_still_reads(const uint32_t *ptr, uint32_t value);

/* Whether os_move_pages() is worth a try: not on Linux before 5.7, nor in memory that is locked (mlockall), since the kernel
 * would unlock all around it. errno kept. */
HK_HIDDEN bool os_can_move_pages(void *ptr, size_t len);

/* Move the pages of a part of a SuperSlab to a target, where they become the first `len` bytes of a mapping as os_map makes
 * it (OS_HUGE), new_len long, more than len. The addresses that they leave stay, and read as zeros: so os_purge is told as
 * well. False when refused: the content is where it was, and the target is no more. */
HK_HIDDEN bool os_move_pages(void *ptr, size_t len, void *target, size_t new_len);

/* A page whose first word is 1, and is the caller's to write, until the process forks (raw clone included): in the child the
 * page reads 0. NULL when unsupported. */
HK_HIDDEN volatile uint32_t *os_wipe_on_fork_page(void);

/* The limit that a refused request of `len` bytes most likely hit. Reads /proc; allocates nothing. */
HK_HIDDEN enum os_limit os_limit_hit(size_t len, int error);

/* Milliseconds of a monotonic clock of a few milliseconds' resolution; a read costs some ns. */
HK_HIDDEN uint64_t os_now_ms(void);

/* Nanoseconds of the monotonic clock, at its full resolution. */
HK_HIDDEN uint64_t os_now_ns(void);

/* Whether a stamp of os_now_ms() is age_ms old or older; another thread's stamp may be later than now. */
static inline bool os_is_aged(uint64_t stamp_ms, uint64_t now_ms, uint64_t age_ms)
{
    return age_ms == 0 || stamp_ms + age_ms <= now_ms;
}

/* 64 random bits (getrandom, else the kernel's AT_RANDOM). */
HK_HIDDEN uint64_t os_random64(void);

/* Write to standard error: printf's %s %d %u %x %p %zu %lu %llu %lx %llx only, at most 512 bytes, by one write(2), nothing
 * allocated, errno kept. Async-signal-safe. */
HK_HIDDEN void os_message(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same to another descriptor. */
HK_HIDDEN void os_message_to(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Of the kernel's set of signals, whatever libc's has. */
#define OS_SIGSET_BYTES 8u

/* The same formatting into a buffer; returns the length written, at most size - 1; always terminated. */
HK_HIDDEN size_t os_format(char *buf, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

#ifdef HK_FAULT_INJECTION
/* For tests: the os_fail_at-th call from now on that maps, protects, moves, purges or unmaps memory is refused with ENOMEM
 * before the kernel sees it (1: the next one; 0: off), and with it os_fail_for calls in a row. any: */
extern HK_HIDDEN uint64_t os_fail_at;
extern HK_HIDDEN uint64_t os_fail_for;
#endif

#endif
