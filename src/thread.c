#include "thread.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../probes/probe.h"
#include "config.h"
#include "failures.h"
#include "guard.h"
#include "heap.h"
#include "legacy.h"
#include "lock.h"
#include "meta.h"
#include "os.h"
#include "quarantine.h"
#include "region.h"
#include "shared_pool.h"
#include "superslab.h"

#define EXIT_ROUNDS \
    2u /* so often the key's destructor is called before the cache goes: after those of other keys. Of four rounds that there are, since a
        * thread may first come here in one of them */
#define LOOK_LEAST 8u /* threads: fewer are not looked at, whether they are still there */

static struct hk_lock threads_lock = HK_LOCK_FREE;
struct hk_thread *hk_threads;
static uint64_t look_at = LOOK_LEAST;       /* lock: threads; so many in the list, and all are looked at */
static pthread_key_t exit_key;              /* const: after thread_init() */
static bool have_key;                       /* const: after thread_init() */
static bool caches_allowed;                 /* any: set once */
static uint64_t last_begin_ms, last_end_ms; /* any: of the threads that reported */

static volatile uint32_t no_token = 1; /* where the kernel has no MADV_WIPEONFORK */
volatile uint32_t *thread_fork_token = &no_token;

static void unlink_thread(struct hk_thread *thread)
{
    *(thread->prev != NULL ? &thread->prev->next : &hk_threads) = thread->next;
    if (thread->next != NULL)
        thread->next->prev = thread->prev;
}

/* Threads report at their first tick of each class, and when they end: of those that live shortly, one in a while. */
static bool is_first_in_a_while(uint64_t *last_ms, uint64_t now_ms)
{
    if (now_ms - atomic_load_relaxed(last_ms) < HK_REPORT_MS)
        return false;
    atomic_store_relaxed(last_ms, now_ms);
    return true;
}

/* Whether a thread ended without a word, its TLS no more or another's: one that came here first in the last rounds of destructors,
 * when the key's is called no more. */
static bool is_gone(const struct hk_thread *thread)
{
    uint32_t word; /* the first of its hk_tls.self, which it has as long as it is in the list */
    memcpy(&word, &thread, sizeof word);
    return !os_still_reads((const uint32_t *)(const void *)&thread->tls->self, word);
}

static void look_when_doubled(uint64_t alive)
{
    look_at = alive * 2 > LOOK_LEAST ? alive * 2 : LOOK_LEAST;
}

static void leave(struct hk_thread *thread)
{
    unlink_thread(thread);
    uint64_t alive = atomic_sub_relaxed(&hk_account.capacity.threads, 1) - 1;
    HK_PROBE_FIRE(thread_exit, thread, alive);
    if (alive < look_at / 4)
        look_when_doubled(alive);
}

/* So that the list does not grow by those that are gone: a look at each costs a call of the kernel, so threads that come and go by
 * themselves are never looked at. */
static void forget_gone(void)
{
    const uint64_t *alive = &hk_account.capacity.threads;
    struct hk_thread *next;
    if (atomic_load_relaxed(alive) < look_at)
        return;
    for (struct hk_thread *thread = hk_threads; thread != NULL; thread = next) {
        next = thread->next;
        if (!is_gone(thread))
            continue;
        leave(thread);
        cache_forgo(thread);
        meta_free(thread, sizeof *thread);
    }
    look_when_doubled(atomic_load_relaxed(alive));
}

static struct hk_thread *thread_begin(void)
{
    int saved = errno;
    struct hk_thread *thread = meta_alloc(sizeof *thread);
    if (thread == NULL) {
        errno = saved; /* the call is served without a cache */
        return NULL;
    }
    thread->tls = &hk_tls;
    thread->tid = (uint32_t)syscall(SYS_gettid);
    uint64_t now_ms = os_now_ms();
    uint32_t report_ms = (uint32_t)now_ms - (is_first_in_a_while(&last_begin_ms, now_ms) ? HK_REPORT_MS : 0);
    for (unsigned class_idx = 0; class_idx < HK_CACHED_CLASSES; class_idx++) {
        hk_bin_set_first(&hk_tls.bins[class_idx + 1], NULL);
        thread->classes[class_idx].room = hk_tls.bins[class_idx + 1].room;
        thread->classes[class_idx].report_ms = report_ms;
    }
    thread->limit = HK_OWN_LIMIT < hk_config.cache ? HK_OWN_LIMIT : hk_config.cache;
    hk_lock(&threads_lock);
    forget_gone();
    thread->next = hk_threads;
    if (hk_threads != NULL)
        hk_threads->prev = thread;
    hk_threads = thread;
    uint64_t alive = atomic_add_relaxed(&hk_account.capacity.threads, 1) + 1;
    HK_PROBE_FIRE(thread_start, thread, alive); /* under the lock: events come in the order of their count */
    hk_tls.self = thread; /* as long as it is in the list; and before pthread_setspecific, which may allocate */
    hk_unlock(&threads_lock);
    if (have_key)
        pthread_setspecific(exit_key, thread);
    errno = saved;
    return thread;
}

/* From here on every call of this thread takes the slow path. */
static void close_bins(void)
{
    for (unsigned code = 0; code < HK_BINS; code++)
        hk_bin_close(&hk_tls.bins[code]);
}

void thread_end(void)
{
    struct hk_thread *thread = hk_tls.self;
    if (!thread_has_cache(thread))
        return;
    cache_end();
    if (HK_PROBE_ON(cache_report) && is_first_in_a_while(&last_end_ms, os_now_ms()))
        HK_PROBE_FIRE(cache_report, 0, &hk_account.classes[0], account_generation(), sizeof hk_account.classes[0]);
    hk_lock(&threads_lock);
    close_bins();
    leave(thread);
    hk_tls.self = HK_THREAD_ENDED;
    hk_unlock(&threads_lock);
    meta_free(thread, sizeof *thread);
}

/* The key's destructor: waits some rounds, so that destructors which free find the cache in place. */
static void on_thread_exit(void *arg)
{
    struct hk_thread *thread = arg;
    if (hk_tls.self != thread) /* exit(3) was called in this thread, and a handler of it ends the thread */
        return;
    if (++thread->exit_rounds < EXIT_ROUNDS && pthread_setspecific(exit_key, thread) == 0)
        return;
    thread_end();
}

void thread_init(void)
{
    volatile uint32_t *token = os_wipe_on_fork_page();
    if (token != NULL)
        thread_fork_token = token;
    have_key = pthread_key_create(&exit_key, on_thread_exit) == 0;
}

void thread_allow_caches(void)
{
    atomic_store_relaxed(&caches_allowed, true);
    region_open();
}

struct hk_thread *thread_enter_slow(void)
{
    heap_enter();
    struct hk_thread *thread = hk_tls.self;
    if (thread == HK_THREAD_ENDED || !atomic_load_relaxed(&caches_allowed))
        return NULL;
    return thread != NULL ? thread : thread_begin();
}

bool thread_lists_hold(unsigned class_idx, const void *block)
{
    bool holds = false;
    hk_lock(&threads_lock);
    for (const struct hk_thread *thread = hk_threads; thread != NULL && !holds; thread = thread->next) {
        if (is_gone(thread))
            continue;
        void *head = atomic_load_relaxed(&thread->tls->bins[class_idx + 1].head);
        holds = shared_pool_list_holds(class_idx, hk_end_to_null(head), block);
    }
    hk_unlock(&threads_lock);
    return holds;
}

static bool adoptable(const void *block, unsigned class_idx)
{
    const struct slab *slab = superslab_find(block);
    if (slab == NULL)
        slab = legacy_find(block);
    return slab != NULL && slab->class_idx == class_idx && slab_is_block(slab, block) && hk_is_sound(block) &&
           !slab_block_is_free(slab, block);
}

/* A list of a thread that is not in this process, perhaps caught in the middle of a change: what of it is sound is counted
 * anew and given to the slabs. A block that was on its way in or out is lost. Block by block: copied at different moments,
 * a list may run into another, or into itself, and what was given already is known by its slab. */
static void adopt(struct hk_thread *thread, unsigned class_idx)
{
    uint64_t count = 0;
    void *block = hk_bin_first(&thread->tls->bins[class_idx + 1]);
    while (block != NULL && adoptable(block, class_idx)) {
        void *next = hk_link(block);
        shared_pool_drain(class_idx, (struct hk_chain){block, 1}, true);
        count++;
        block = next;
    }
    if (count == 0)
        return;
    account_add(&hk_account.classes[class_idx].drains[DRAIN_FORK], 1);
    account_add(&hk_account.classes[class_idx].drain_blocks[DRAIN_FORK], count);
    HK_PROBE_FIRE(tls_drain, class_idx, count, count * hk_class_size[class_idx], DRAIN_FORK,
                  atomic_load_relaxed(&hk_account.classes[class_idx].drains[DRAIN_FORK]));
}

/* Whoever was interrupted in a change of them may look at the thread's own lists again: they are empty for him, and his struct stays. */
static void adopt_own(void)
{
    struct hk_thread *self = hk_tls.self;
    for (unsigned class_idx = 0; class_idx < HK_CACHED_CLASSES; class_idx++)
        adopt(self, class_idx);
    close_bins();
    hk_tls.self = NULL; /* the next slow path makes a new one */
}

static void adopt_others(void)
{
    struct hk_thread *self = hk_tls.self, *next;
    for (struct hk_thread *thread = hk_threads; thread != NULL; thread = next) {
        next = thread->next;
        if (thread == self)
            continue;
        bool gone = is_gone(thread);
        for (unsigned class_idx = 0; class_idx < HK_CACHED_CLASSES && !gone; class_idx++)
            adopt(thread, class_idx);
        unlink_thread(thread);
        meta_free(thread, sizeof *thread);
    }
}

/* The list was caught in the middle of a change: the calling thread alone is in it from now on. */
static void forget_others(void)
{
    hk_threads = hk_tls.self != HK_THREAD_ENDED ? hk_tls.self : NULL;
    if (hk_threads != NULL)
        hk_threads->next = hk_threads->prev = NULL;
}

/* What is live in the child is what no free list holds: counted from the slabs, since other threads' counters are gone. */
static void count_inherited(void)
{
    uint32_t waiting[HK_CACHED_CLASSES];
    quarantine_count(waiting);
    for (unsigned class_idx = 0; class_idx < HK_CACHED_CLASSES; class_idx++) {
        struct hk_class_account *account = &hk_account.classes[class_idx];
        uint64_t free_blocks = shared_pool_free_blocks(class_idx) + cache_length(class_idx) + waiting[class_idx];
        account->inherited = account->slab_blocks - free_blocks + guard_live(class_idx);
        account->inherited_bytes = account->inherited * hk_class_size[class_idx];
    }
}

void thread_before_fork(void)
{
    hk_lock(&threads_lock);
}

void thread_after_fork(bool child, bool raw_child, bool interrupted)
{
    bool sound = !raw_child || !hk_lock_is_held(&threads_lock);
    if (raw_child)
        hk_lock_reset(&threads_lock);
    else
        hk_unlock(&threads_lock);
    if (!child)
        return;
    hk_tls.bins[0].room = 1; /* a free that a signal interrupted may have taken it */
    if (!thread_has_cache(hk_tls.self)) {
        close_bins(); /* a malloc that a signal interrupted may have taken of a budget of 0, with no list behind it */
    } else if (interrupted) {
        if (sound)
            unlink_thread(hk_tls.self);
        adopt_own();
    }
    if (thread_has_cache(hk_tls.self))
        hk_tls.self->tid = (uint32_t)syscall(SYS_gettid);
    cache_settle_all();
    cache_after_fork();
    account_new_generation();
    failures_after_fork();
    atomic_store_relaxed(&last_end_ms, 0); /* the child's first thread to end reports, however soon that is */
    if (sound)
        adopt_others();
    else
        forget_others();
    atomic_store_relaxed(&hk_account.capacity.threads, hk_threads != NULL ? 1 : 0);
    look_at = LOOK_LEAST;
    count_inherited();
    HK_PROBE_FIRE(process_fork, account_generation(), (int64_t)getppid());
}
