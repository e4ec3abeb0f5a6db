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
#include "meta.h"
#include "os.h"
#include "quarantine.h"
#include "reclaim.h"
#include "shared_pool.h"
#include "superslab.h"
#include "thread.h"

static bool forking; /* the forking thread's, between before_fork() and after_fork() */

static void before_fork(void)
{
    thread_before_fork();
    quarantine_before_fork();
    shared_pool_before_fork();
    ace_before_fork();
    superslab_before_fork();
    meta_before_fork();
    guard_before_fork();
    forking = true;
}

static void release(bool child, bool raw_child)
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
    thread_after_fork(child, raw_child);
}

static void after_fork_parent(void)
{
    forking = false;
    release(false, false);
}

static void after_fork_child(void)
{
    if (!forking) /* another library's handler allocated first, and heap_after_raw_fork() did the work */
        return;
    forking = false;
    thread_fork_token_restore();
    release(true, false);
}

void heap_after_raw_fork(void)
{
    bool raw_child = !forking;
    forking = false;
    thread_fork_token_restore();
    release(true, raw_child);
}

__attribute__((constructor(101))) static void start(void)
{
    heap_init();
    if (!harden_is_on())
        thread_allow_caches();
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
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
