/* account_access.h - the account of the allocator that serves the program, by the public functions of hakmem.h. */
#ifndef ACCOUNT_ACCESS_H
#define ACCOUNT_ACCESS_H

#include <dlfcn.h>

#include "check.h"
#include "hakmem.h"

#define MAX_CLASSES 256u
#define HIGHEST_CACHED (32 * KIB) /* the largest block that a thread's cache holds */

static int (*class_stats)(unsigned, struct hk_class_stats *, size_t);
static int (*process_stats)(struct hk_stats *, size_t);
static size_t (*trim)(void);

static inline void account_open(void)
{
    *(void **)&class_stats = dlsym(RTLD_DEFAULT, "hk_class_stats");
    *(void **)&process_stats = dlsym(RTLD_DEFAULT, "hk_stats");
    *(void **)&trim = dlsym(RTLD_DEFAULT, "hk_trim");
    require(class_stats != NULL && process_stats != NULL && trim != NULL, "the program doesn't run on hakmem");
}

struct account {
    unsigned classes;
    struct hk_class_stats of[MAX_CLASSES];
};

/* Settles the calling thread's counters. */
static inline void account_read(struct account *account)
{
    unsigned c = 0;
    while (c < MAX_CLASSES && class_stats(c, &account->of[c], sizeof(account->of[c])) == 0)
        c++;
    require(c > 1 && c < MAX_CLASSES, "%u size classes", c);
    account->classes = c;
}

/* The class that serves `size`: the first whose blocks are large enough, else the last. */
static inline unsigned account_class_of(const struct account *account, size_t size)
{
    unsigned c = 0;
    while (c < account->classes - 1 && account->of[c].block_size < size)
        c++;
    return c;
}

/* Those that a thread's cache fronts; their account hears of all that left one. */
static inline unsigned account_cached_classes(const struct account *account)
{
    return account_class_of(account, HIGHEST_CACHED) + 1;
}

#endif
