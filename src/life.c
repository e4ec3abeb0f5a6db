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

/* owner: between before_fork() and after_fork(). INTERRUPTED: in a signal handler that interrupted a slow path, which may hold any
 * lock. None is taken then, and in the child everything is as in that of a raw clone; the thread's own lists too may have been
 * caught in a change. LET_GO: all locks were taken, but a handler of another library, which was installed before and so is called
 * afterwards, wanted one: the child is as that of a raw clone. */
static HK_TLS enum { NOT_FORKING, LOCKED, INTERRUPTED, LET_GO } forking;

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
    forking = hk_depth == 0 ? LOCKED : INTERRUPTED;
    if (forking == INTERRUPTED)
        return;
    thread_before_fork();
    quarantine_before_fork();
    shared_pool_before_fork();
    ace_before_fork();
    superslab_before_fork();
    meta_before_fork();
    guard_before_fork();
    hk_let_go_of_all = let_go;
}

static void after_fork_parent(void)
{
    hk_let_go_of_all = NULL;
    if (forking == LOCKED)
        release(false, false, false);
    forking = NOT_FORKING;
}

static void after_fork_child(void)
{
    if (forking != NOT_FORKING) /* else another library's handler allocated first */
        heap_after_raw_fork();
}

void heap_after_raw_fork(void)
{
    bool raw_child = forking != LOCKED, interrupted = forking == INTERRUPTED;
    forking = NOT_FORKING;
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
