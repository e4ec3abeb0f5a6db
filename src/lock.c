/* lock.c - the slow paths of the futex lock. */
#include "lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

HK_TLS uint32_t hk_depth;
HK_TLS void (*hk_let_go_of_all)(void);

/* Who has waited takes the lock as 2, for there may be others asleep; the one wake too many that this costs is the price
 * for never losing one. */
HK_COLD void hk_lock_wait(struct hk_lock *lock)
{
    int saved = errno;
    if (hk_let_go_of_all != NULL)
        hk_let_go_of_all();
    while (__atomic_exchange_n(&lock->state, 2, __ATOMIC_ACQUIRE) != 0) /* pairs with hk_unlock() */
        syscall(SYS_futex, &lock->state, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
    errno = saved;
}

HK_COLD void hk_lock_wake(struct hk_lock *lock)
{
    int saved = errno;
    syscall(SYS_futex, &lock->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    errno = saved;
}
