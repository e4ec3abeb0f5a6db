/* life.c - the process's life: start, fork, exit. The order of all locks is written here:
 *   threads, quarantine's shards by index, class pools by index, ACE's pools by index, huge, superslab, meta, guard.
 * reclaim's is only ever tried, and init's is held before there are threads. */
#include <pthread.h>

#include "ace.h"
#include "chance.h"
#include "config.h"
#include "guard.h"
#include "harden.h"
#include "heap.h"
#include "lock.h"
#include "meta.h"
#include "os.h"
#include "quarantine.h"
#include "reclaim.h"
#include "shared_pool.h"
#include "superslab.h"
#include "thread.h"

/* owner: between before_fork() and after_fork(). LET_GO: all locks were taken, but a handler of another library, which was installed
 * before and so is called afterwards, wanted one: the child is as that of a raw clone. */
static HK_TLS enum { NOT_FORKING, LOCKED, LET_GO } forking;

/* owner: forks under way in signal handlers that interrupted a slow path, or a fork, each within the one before. Such a fork takes no
 * lock, since what it interrupted may hold any, and in the parent leaves everything as it is. */
static HK_TLS unsigned interrupting;

static void release(bool child, bool raw_child, bool interrupted)
{
    guard_after_fork(raw_child);
    meta_after_fork(raw_child);
    superslab_after_fork(child, raw_child);
    ace_after_fork(raw_child);
    shared_pool_after_fork(raw_child);
    quarantine_after_fork(raw_child);
    if (child)
        chance_after_fork();
    reclaim_after_fork(child);
    thread_after_fork(child, raw_child, interrupted);
}

static void let_go(void)
{
    hk_let_go_of_all = NULL;
    forking = LET_GO;
    release(false, false, false);
}

static void before_fork(void)
{
    if (hk_depth != 0) {
        interrupting++;
        return;
    }
    thread_before_fork();
    quarantine_before_fork();
    shared_pool_before_fork();
    ace_before_fork();
    superslab_before_fork();
    meta_before_fork();
    guard_before_fork();
    forking = LOCKED;
    hk_let_go_of_all = let_go;
}

static void after_fork_parent(void)
{
    if (interrupting != 0) {
        interrupting--;
        return;
    }
    bool locked = forking == LOCKED;
    hk_let_go_of_all = NULL;
    forking = NOT_FORKING;
    if (locked)
        release(false, false, false);
}

static void after_fork_child(void)
{
    if (forking != NOT_FORKING || interrupting != 0) /* else another library's handler allocated first */
        heap_begin_child();
}

/* Where the thread itself holds all locks, nothing was caught in a change, also in the child of a fork that interrupted that fork.
 * Else the thread's own lists too may have been, if the fork interrupted it. */
void heap_begin_child(void)
{
    bool raw_child = forking != LOCKED, interrupted = raw_child && interrupting != 0;
    forking = NOT_FORKING;
    interrupting = 0;
    hk_let_go_of_all = NULL;
    thread_fork_token_restore();
    release(true, raw_child, interrupted);
}

void heap_catch_forks(void)
{
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

__attribute__((constructor(101))) static void start(void)
{
    heap_init();
    if (!harden_is_on())
        thread_allow_caches();
    config_report();
}

/* exit(3): the account becomes exact, and what the last frees did wrong is found when their chains are taken apart. Destructors
 * that come later are served without a cache. */
__attribute__((destructor(101))) static void finish(void)
{
    thread_end();
    quarantine_flush();
    shared_pool_decay(os_now_ms(), 0);
}
