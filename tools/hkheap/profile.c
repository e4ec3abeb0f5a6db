#include "profile.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "src/size_class.h"

struct block {
    uint64_t address; /* key */
    uint64_t time;
    uint64_t block_size;
    double bytes, blocks;
    struct site *site;
};

/* What tsearch gave. */
static void *found_in(void *node)
{
    if (node != NULL)
        return *(void **)node;
    out_of_memory();
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(a, b);
}

const char *intern(const char *text)
{
    static void *texts;
    void *node = tfind(text, &texts, compare_texts);
    if (node != NULL)
        return *(const char **)node;
    size_t size = strlen(text) + 1;
    return found_in(tsearch(memcpy(grow(NULL, size, 1), text, size), &texts, compare_texts));
}

static int compare_words(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* Names are interned: the same function at the same offset is the same frame, wherever it was loaded. */
static int compare_stacks(const void *a, const void *b)
{
    const struct site *x = a, *y = b;
    int order = compare_words(x->depth, y->depth);
    for (unsigned i = 0; order == 0 && i < x->depth; i++) {
        const struct frame *f = &x->frames[i], *g = &y->frames[i];
        order = compare_words((uintptr_t)f->function, (uintptr_t)g->function);
        if (order == 0)
            order = compare_words((uintptr_t)f->file, (uintptr_t)g->file);
        if (order == 0)
            order = f->function != NULL ? compare_words(f->offset, g->offset) : compare_words(f->address, g->address);
    }
    return order;
}

static int compare_blocks(const void *a, const void *b)
{
    return compare_words(((const struct block *)a)->address, ((const struct block *)b)->address);
}

struct profile *profile_new(void)
{
    struct profile *profile = grow(NULL, 1, sizeof *profile);
    memset(profile, 0, sizeof *profile);
    return profile;
}

static void keep(void *node)
{
    (void)node; /* sites are in the array as well */
}

void profile_free(struct profile *profile)
{
    tdestroy(profile->by_stack, keep);
    tdestroy(profile->live, free);
    for (size_t i = 0; i < profile->site_count; i++) {
        free((void *)(uintptr_t)profile->sites[i]->frames);
        free(profile->sites[i]->holdings);
        free(profile->sites[i]);
    }
    free(profile->sites);
    free(profile);
}

struct site *profile_site(struct profile *profile, const struct frame *frames, unsigned depth)
{
    struct frame others = {.function = intern("[stacks beyond the most that are kept]"), .file = ""};
    struct site wanted = {.frames = frames, .depth = depth};
    void *node = tfind(&wanted, &profile->by_stack, compare_stacks);
    if (node == NULL && profile->site_count >= PROFILE_SITES) {
        wanted = (struct site){.frames = &others, .depth = 1};
        node = tfind(&wanted, &profile->by_stack, compare_stacks);
    }
    if (node != NULL)
        return *(struct site **)node;
    struct site *site = grow(NULL, 1, sizeof *site);
    memset(site, 0, sizeof *site);
    site->frames = memcpy(grow(NULL, wanted.depth + 1, sizeof *frames), wanted.frames, wanted.depth * sizeof *frames);
    site->depth = wanted.depth;
    profile->sites = grow(profile->sites, profile->site_count + 1, sizeof(struct site *));
    profile->sites[profile->site_count++] = site;
    return found_in(tsearch(site, &profile->by_stack, compare_stacks));
}

struct holding *profile_holding(struct site *site, uint64_t block_size)
{
    for (unsigned i = 0; i < site->holding_count; i++)
        if (site->holdings[i].block_size == block_size)
            return &site->holdings[i];
    site->holdings = grow_by_one(site->holdings, site->holding_count, sizeof *site->holdings);
    struct holding *holding = &site->holdings[site->holding_count++];
    *holding = (struct holding){.block_size = block_size};
    return holding;
}

/* sign: 1 for a block that comes, -1 for one that goes. */
static void hold(const struct block *block, double sign)
{
    struct holding *holding = profile_holding(block->site, block->block_size);
    holding->bytes += sign * block->bytes;
    holding->block_bytes += sign * block->blocks * (double)block->block_size;
}

double profile_slack(const struct profile *profile)
{
    double slack = 0;
    for (size_t i = 0; i < profile->site_count; i++)
        for (unsigned k = 0; k < profile->sites[i]->holding_count; k++)
            slack += profile->sites[i]->holdings[k].block_bytes - profile->sites[i]->holdings[k].bytes;
    return slack;
}

/* As the allocator rounds a request up: to its class, above those to pages. */
static uint64_t block_size_of(uint64_t size)
{
    const uint64_t page = 4096;
    return size <= HK_LARGE_MAX ? HK_CLASS_SIZE(hk_class_of_size((size_t)size)) : (size + page - 1) / page * page;
}

static void end_block(struct profile *profile, struct block *block, uint64_t time)
{
    uint64_t microseconds = time > block->time ? (time - block->time) / 1000 : 0;
    unsigned bucket = microseconds < 2 ? 0 : 63u - (unsigned)__builtin_clzll(microseconds);
    block->site->lifetimes[bucket < PROFILE_LIFETIMES ? bucket : PROFILE_LIFETIMES - 1] += block->blocks;
    hold(block, -1);
    block->site->live.bytes -= block->bytes;
    block->site->live.blocks -= block->blocks;
    tdelete(block, &profile->live, compare_blocks);
    profile->live_count--;
    free(block);
}

static struct block *block_at(const struct profile *profile, uint64_t address)
{
    struct block wanted = {.address = address};
    void *node = tfind(&wanted, &profile->live, compare_blocks);
    return node != NULL ? *(struct block **)node : NULL;
}

void profile_alloc(struct profile *profile, struct site *site, uint64_t address, uint64_t size, uint64_t weight,
                   uint64_t time)
{
    struct block *block = block_at(profile, address);
    if (block != NULL) /* its free was lost */
        end_block(profile, block, time);
    block = grow(NULL, 1, sizeof *block);
    *block = (struct block){.address = address,
                            .time = time,
                            .block_size = block_size_of(size),
                            .bytes = (double)weight,
                            .blocks = (double)weight / (double)(size == 0 ? 1 : size),
                            .site = site};
    found_in(tsearch(block, &profile->live, compare_blocks));
    profile->live_count++;
    hold(block, 1);
    site->allocated.bytes += block->bytes;
    site->allocated.blocks += block->blocks;
    site->live.bytes += block->bytes;
    site->live.blocks += block->blocks;
}

void profile_free_block(struct profile *profile, uint64_t address, uint64_t time)
{
    struct block *block = block_at(profile, address);
    if (block != NULL) /* else it was sampled before this profile began, or thinned out */
        end_block(profile, block, time);
}

void profile_mark(struct profile *profile)
{
    for (size_t i = 0; i < profile->site_count; i++)
        profile->sites[i]->before = profile->sites[i]->live;
}

static struct amount amount_of(const struct site *site, enum profile_order order)
{
    struct amount growth = {site->live.bytes - site->before.bytes, site->live.blocks - site->before.blocks};
    return order == BY_ALLOCATED ? site->allocated : order == BY_GROWTH ? growth : site->live;
}

double profile_bytes(const struct site *site, enum profile_order order)
{
    return amount_of(site, order).bytes;
}

struct amount profile_total(const struct profile *profile, enum profile_order order)
{
    struct amount total = {0, 0};
    for (size_t i = 0; i < profile->site_count; i++) {
        struct amount amount = amount_of(profile->sites[i], order);
        total.bytes += amount.bytes;
        total.blocks += amount.blocks;
    }
    return total;
}

static int compare_sites(const void *a, const void *b, void *arg)
{
    const enum profile_order *order = arg;
    double x = profile_bytes(*(struct site *const *)a, *order), y = profile_bytes(*(struct site *const *)b, *order);
    return (x < y) - (x > y);
}

void profile_sort(struct profile *profile, enum profile_order order)
{
    if (profile->site_count != 0)
        qsort_r(profile->sites, profile->site_count, sizeof(struct site *), compare_sites, &order);
}
