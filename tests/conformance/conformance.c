/* conformance.c - every function of the C ABI against what C23, POSIX.1-2024, the glibc manual and jemalloc(3) say of it.
 * Runs on any allocator: what only hakmem promises (where the documents leave a choice) is checked on hakmem alone. */
#include "check.h"
#include "ways.h"

static const size_t too_big[] = {PTRDIFF_MAX - 1, PTRDIFF_MAX,     (size_t)PTRDIFF_MAX + 1, SIZE_MAX - 64 * KIB,
                                 SIZE_MAX - 4096, SIZE_MAX - 4095, SIZE_MAX - 16,           SIZE_MAX - 15,
                                 SIZE_MAX - 1,    SIZE_MAX};
#define EACH(i, array) (unsigned i = 0; i < sizeof(array) / sizeof((array)[0]); i++)

/* ---- sections ---- */

static void presence(void)
{
    static const char *const aliases[][2] = {
        {"__libc_malloc", "malloc"},
        {"__libc_free", "free"},
        {"__libc_calloc", "calloc"},
        {"__libc_realloc", "realloc"},
        {"__libc_memalign", "memalign"},
        {"__libc_valloc", "valloc"},
        {"__libc_pvalloc", "pvalloc"},
        {"__libc_mallopt", "mallopt"},
        {"__libc_mallinfo", "mallinfo"},
        {"cfree", "free"},
        {"__libc_cfree", "free"},
        {"__posix_memalign", "posix_memalign"},
        {"__libc_reallocarray", "reallocarray"},
    };
    CHECK((void *)fn.malloc == (void *)malloc && (void *)fn.free == (void *)free,
          "a versioned reference goes elsewhere");
    CHECK((void *)fn.calloc == (void *)calloc && (void *)fn.realloc == (void *)realloc, "as malloc");
    CHECK((void *)fn.mallinfo2 == (void *)mallinfo2, "as malloc");
    if (!own)
        return;
#define F(result, name, parameters) CHECK(fn.name != NULL, "missing");
    FUNCTIONS(F)
#undef F
    for
        EACH(i, aliases)
        {
            void *alias = dlsym(RTLD_DEFAULT, aliases[i][0]);
            CHECK(alias == dlsym(RTLD_DEFAULT, aliases[i][1]), "%s is not %s", aliases[i][0], aliases[i][1]);
        }
}

static void every_size(void)
{
    for (unsigned w = 0; w < way_count; w++)
        for (unsigned i = 0; i < size_count; i++) {
            size_t size = sizes[i];
            void *block = ways[w].get(size);
            CHECK(block != NULL, "%s(%zu)", ways[w].name, size);
            if (block == NULL)
                continue;
            CHECK(is_aligned(block, 16), "%s(%zu) = %p", ways[w].name, size, block);
            size_t usable = fn.malloc_usable_size(block);
            CHECK(usable >= size, "%s(%zu): %zu", ways[w].name, size, usable);
            if (own)
                CHECK(usable <= size + size / 8 + 2 * page, "%s(%zu): %zu", ways[w].name, size, usable);
            fill(block, usable, i);
            CHECK(is_filled(block, usable, i), "%s(%zu)", ways[w].name, size);
            CHECK(fn.malloc_usable_size(block) == usable, "%s(%zu)", ways[w].name, size);
            give_back(block, &ways[w], size, i + w);
        }
}

static void zero_sizes(void)
{
    void *blocks[200];
    for (unsigned w = 0; w < way_count; w++) {
        for
            EACH(i, blocks)
            {
                blocks[i] = ways[w].get(0);
                CHECK(blocks[i] != NULL, "%s(0)", ways[w].name);
                for (unsigned j = 0; j < i; j++)
                    CHECK(blocks[i] != blocks[j], "%s(0) twice %p", ways[w].name, blocks[i]);
            }
        for
            EACH(i, blocks)
        fn.free(blocks[i]);
    }
    void *none = fn.calloc(0, SIZE_MAX);
    CHECK(none != NULL, "no block");
    fn.free(none);
    fn.free(NULL);
    CHECK(fn.malloc_usable_size(NULL) == 0, "of NULL");
    CHECK(fn.realloc(fn.malloc(100), 0) == NULL, "realloc to 0 frees");
    CHECK(fn.reallocarray(fn.malloc(100), 0, 7) == NULL, "reallocarray to 0 frees");
    if (fn.reallocf != NULL)
        CHECK(fn.reallocf(fn.malloc(100), 0) == NULL, "reallocf to 0 frees");
    if (fn.cfree != NULL)
        fn.cfree(NULL);
    if (fn.free_sized != NULL)
        fn.free_sized(NULL, 100);
    if (fn.free_aligned_sized != NULL)
        fn.free_aligned_sized(NULL, 64, 100);
}

static void too_big_fails(void)
{
    for
        EACH(i, too_big)
        {
            size_t size = too_big[i];
            for (unsigned w = 0; w < way_count; w++) {
                errno = 0;
                CHECK(ways[w].get(size) == NULL, "%s(%zu)", ways[w].name, size);
                CHECK(errno == ENOMEM, "%s(%zu): errno %d", ways[w].name, size, errno);
            }
            char *block = fn.malloc(100);
            fill(block, 100, i);
            errno = 0;
            CHECK(fn.realloc(block, size) == NULL && errno == ENOMEM, "%zu: errno %d", size, errno);
            errno = 0;
            CHECK(fn.reallocarray(block, size, 1) == NULL && errno == ENOMEM, "%zu: errno %d", size, errno);
            errno = 0;
            if (fn.rallocx != NULL)
                CHECK(fn.rallocx(block, size, 0) == NULL && errno == ENOMEM, "%zu: errno %d", size, errno);
            if (fn.xallocx != NULL)
                CHECK(fn.xallocx(block, size, 0, 0) < size, "%zu", size);
            if (fn.nallocx != NULL)
                CHECK(fn.nallocx(size, 0) == 0, "%zu", size);
            CHECK(is_filled(block, 100, i), "a failed resize left its mark, size %zu", size);
            if (fn.reallocf != NULL) {
                errno = 0;
                CHECK(fn.reallocf(block, size) == NULL && errno == ENOMEM, "%zu: errno %d", size, errno);
            } else {
                fn.free(block);
            }
        }
}

static void products_that_overflow(void)
{
    static const size_t factors[][2] = {{SIZE_MAX, 2},
                                        {2, SIZE_MAX},
                                        {SIZE_MAX, SIZE_MAX},
                                        {SIZE_MAX / 2 + 1, 2},
                                        {(size_t)1 << 33, (size_t)1 << 33},
                                        {SIZE_MAX / 3 + 1, 3},
                                        {(size_t)1 << 32, (size_t)1 << 32}};
    void *block = fn.malloc(50);
    fill(block, 50, 1);
    for
        EACH(i, factors)
        {
            size_t a = factors[i][0], b = factors[i][1];
            errno = 0;
            CHECK(fn.calloc(a, b) == NULL && errno == ENOMEM, "%zu * %zu: errno %d", a, b, errno);
            errno = 0;
            CHECK(fn.reallocarray(NULL, a, b) == NULL && errno == ENOMEM, "%zu * %zu: errno %d", a, b, errno);
            errno = 0;
            CHECK(fn.reallocarray(block, a, b) == NULL && errno == ENOMEM, "%zu * %zu: errno %d", a, b, errno);
        }
    CHECK(is_filled(block, 50, 1), "a failed reallocarray left its mark");
    fn.free(block);
}

/* What a failed posix_memalign leaves behind; glibc sets errno, which POSIX leaves open. */
static bool is_untouched(const void *out)
{
    return out == &page && (errno == 77 || !own);
}

static void bad_alignments(void)
{
    static const size_t bad[] = {0, 3, 5, 12, 24, 40, 48, 4095, 4097, SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2};
    static const size_t small[] = {1, 2, 4};
    void *out = &page;
    for
        EACH(i, bad)
        {
            errno = 77;
            CHECK(fn.posix_memalign(&out, bad[i], 100) == EINVAL, "%zu", bad[i]);
            CHECK(is_untouched(out), "%zu: errno %d", bad[i], errno);
            if (!own)
                continue;
            errno = 0;
            CHECK(fn.aligned_alloc(bad[i], 100) == NULL && errno == EINVAL, "%zu: errno %d", bad[i], errno);
            errno = 0;
            CHECK(fn.memalign(bad[i], 100) == NULL && errno == EINVAL, "%zu: errno %d", bad[i], errno);
        }
    for
        EACH(i, small)
        {
            CHECK(fn.posix_memalign(&out, small[i], 100) == EINVAL && out == &page, "%zu", small[i]);
            void *block = fn.memalign(small[i], 100);
            CHECK(block != NULL && is_aligned(block, 16), "%zu", small[i]);
            fn.free(block);
        }
    for (size_t align = (size_t)1 << 48; align != 0; align *= 2) {
        errno = 77;
        CHECK(fn.posix_memalign(&out, align, 100) == ENOMEM, "%zx", align);
        CHECK(is_untouched(out), "%zx: errno %d", align, errno);
        if (!own)
            continue;
        errno = 0;
        CHECK(fn.aligned_alloc(align, 100) == NULL && errno == ENOMEM, "%zx: errno %d", align, errno);
        errno = 0;
        CHECK(fn.memalign(align, 100) == NULL && errno == ENOMEM, "%zx: errno %d", align, errno);
        CHECK(fn.mallocx(100, __builtin_ctzl(align)) == NULL, "%zx", align);
    }
    for
        EACH(i, too_big)
        {
            errno = 77;
            CHECK(fn.posix_memalign(&out, 4096, too_big[i]) == ENOMEM, "%zu", too_big[i]);
            CHECK(is_untouched(out), "%zu: errno %d", too_big[i], errno);
        }
}

static void check_aligned(const char *what, void *block, size_t align, size_t size)
{
    CHECK(block != NULL, "%s(%zu, %zu): errno %d", what, align, size, errno);
    if (block == NULL)
        return;
    CHECK(is_aligned(block, align) && is_aligned(block, 16), "%s(%zu, %zu) = %p", what, align, size, block);
    size_t usable = fn.malloc_usable_size(block);
    CHECK(usable >= size, "%s(%zu, %zu): %zu", what, align, size, usable);
    fill(block, usable, (unsigned)size);
    CHECK(is_filled(block, usable, (unsigned)size), "%s(%zu, %zu)", what, align, size);
}

static void aligned_resizes(void *block, size_t align, size_t size)
{
    int lg_align = __builtin_ctzl(align);
    size_t prefix = size < 3 * size / 2 + 1 ? size : 0;
    if (fn.rallocx != NULL) {
        block = fn.rallocx(block, 3 * size / 2 + 1, lg_align);
        CHECK(block != NULL && is_aligned(block, align), "align %zu size %zu = %p", align, size, block);
        CHECK(is_filled(block, prefix, (unsigned)size), "align %zu size %zu", align, size);
    }
    block = fn.realloc(block, size + 100);
    CHECK(block != NULL && is_filled(block, prefix, (unsigned)size), "align %zu size %zu", align, size);
    fn.free(block);
}

static void every_alignment(void)
{
    for (size_t align = 1; align <= GIB; align *= 2) {
        size_t near[] = {0, 1, 16, 17, 100, 1000, 5000, 33000, 70000, align - 1, align, align + 1, 3 * align};
        for
            EACH(i, near)
            {
                size_t size = near[i];
                void *block = NULL;
                if (size > 17 * MIB || (align > 64 * MIB && i % 4 != 0))
                    continue;
                if (align >= sizeof(void *)) {
                    CHECK(fn.posix_memalign(&block, align, size) == 0, "%zu, %zu", align, size);
                    check_aligned("posix_memalign", block, align, size);
                    fn.free(block);
                }
                check_aligned("aligned_alloc", block = fn.aligned_alloc(align, size), align, size);
                if (fn.free_aligned_sized != NULL)
                    fn.free_aligned_sized(block, align, size);
                else
                    fn.free(block);
                check_aligned("memalign", block = fn.memalign(align, size), align, size);
                aligned_resizes(block, align, size);
                if (fn.mallocx == NULL)
                    continue;
                int lg_align = __builtin_ctzl(align);
                block = fn.mallocx(size, lg_align | MALLOCX_ZERO);
                CHECK(block != NULL && is_zero(block, size), "align %zu size %zu", align, size);
                check_aligned("mallocx", block, align, size);
                CHECK(fn.nallocx(size, lg_align) == fn.sallocx(block, 0), "align %zu size %zu: %zu, not %zu", align,
                      size, fn.nallocx(size, lg_align), fn.sallocx(block, 0));
                fn.sdallocx(block, size, lg_align);
            }
    }
    void *block = fn.valloc(1);
    CHECK(is_aligned(block, page), "valloc = %p", block);
    fn.free(block);
    block = fn.pvalloc(page + 1);
    CHECK(is_aligned(block, page) && fn.malloc_usable_size(block) >= 2 * page, "pvalloc = %p", block);
    fn.free(block);
}

static void errno_is_kept(void)
{
    for (unsigned w = 0; w < way_count; w++)
        for (unsigned i = 0; i < size_count; i += 3) {
            errno = 4242;
            void *block = ways[w].get(sizes[i]);
            CHECK(errno == 4242, "%s(%zu): errno %d", ways[w].name, sizes[i], errno);
            fn.malloc_usable_size(block);
            block = fn.realloc(block, sizes[i] + 5000);
            CHECK(errno == 4242, "realloc from %zu: errno %d", sizes[i], errno);
            fn.free(block);
            CHECK(errno == 4242, "free of %zu: errno %d", sizes[i], errno);
        }
    /* Enough at once that caches overflow, slabs come and go, and mappings are made and given back. */
    enum { MANY = 40000 };
    void **blocks = fn.malloc(MANY * sizeof *blocks);
    errno = 4242;
    for (unsigned i = 0; i < MANY; i++)
        blocks[i] = fn.malloc(i % 1500);
    CHECK(errno == 4242, "malloc: errno %d", errno);
    for (unsigned i = 0; i < MANY; i++)
        fn.free(blocks[i]);
    CHECK(errno == 4242, "free: errno %d", errno);
    fn.malloc_trim(0);
    fn.mallinfo2();
    CHECK(errno == 4242, "malloc_trim or mallinfo2: errno %d", errno);
    for (unsigned i = 0; i < 40; i++)
        fn.free(fn.malloc(64 * MIB));
    CHECK(errno == 4242, "64 MiB: errno %d", errno);
    fn.free(blocks);
}

static void *resize_by(unsigned how, void *block, size_t size)
{
    if (how == 1)
        return fn.reallocarray(block, size, 1);
    if (how == 2 && fn.reallocf != NULL)
        return fn.reallocf(block, size);
    if (how == 3 && fn.rallocx != NULL)
        return fn.rallocx(block, size, 0);
    return fn.realloc(block, size);
}

static void resizes_keep_contents(void)
{
    static size_t steps[MOST_SIZES];
    unsigned count = list_sizes(steps, MOST_SIZES - 4, 3 * MIB);
    for (size_t big = 4 * MIB; big <= 32 * MIB; big *= 2)
        steps[count++] = big;
    for (unsigned how = 0; how < 4; how++) {
        unsigned char *block = fn.malloc(1);
        fill(block, 1, how);
        for (unsigned i = 1; i < 2 * count; i++) {
            size_t now = i < count ? steps[i] : steps[2 * count - 1 - i];
            size_t before = i == 1 ? 1 : i <= count ? steps[i - 1] : steps[2 * count - i];
            if (now == 0)
                break;
            block = resize_by(how, block, now);
            CHECK(block != NULL, "from %zu to %zu", before, now);
            CHECK(is_aligned(block, 16), "from %zu to %zu = %p", before, now, (void *)block);
            CHECK(is_filled(block, before < now ? before : now, how), "from %zu to %zu", before, now);
            CHECK(fn.malloc_usable_size(block) >= now, "from %zu to %zu", before, now);
            fill(block, now, how);
        }
        fn.free(block);
    }
    /* After a resize in place the size that a sized free is told is the new one. */
    for (unsigned i = 1; i < size_count && fn.free_sized != NULL; i++) {
        void *block = fn.realloc(fn.malloc(sizes[i]), sizes[i] * 3 / 4 + 1);
        fn.free_sized(block, sizes[i] * 3 / 4 + 1);
    }
}

static void xallocx_stays(void)
{
    for (unsigned i = 1; i < size_count && fn.xallocx != NULL; i++) {
        size_t size = sizes[i];
        unsigned char *block = fn.malloc(size);
        fill(block, size, i);
        size_t old = fn.sallocx(block, 0);
        size_t now = fn.xallocx(block, size + size / 2, size, MALLOCX_ZERO);
        CHECK(now == fn.sallocx(block, 0) && now >= old, "%zu: %zu from %zu", size, now, old);
        CHECK(is_filled(block, size, i), "%zu", size);
        if (now > old)
            CHECK(is_zero(block + old, now - old), "%zu: %zu from %zu", size, now, old);
        memset(block, 1, now);
        CHECK(fn.xallocx(block, 1, SIZE_MAX, 0) >= 1, "%zu", size);
        CHECK(fn.xallocx(block, 1, SIZE_MAX - 1, 0) == fn.sallocx(block, 0), "%zu", size);
        fn.free(block);
    }
}

static void zeroed_after_use(void)
{
    void *blocks[40];
    for (unsigned i = 0; i < size_count; i++) {
        size_t size = sizes[i];
        unsigned count = size <= 4096 ? 40 : size <= 256 * KIB ? 6 : 2;
        for (unsigned round = 0; round < 2; round++) {
            for (unsigned b = 0; b < count; b++) {
                blocks[b] = fn.malloc(size);
                memset(blocks[b], 0xa5, fn.malloc_usable_size(blocks[b]));
            }
            for (unsigned b = 0; b < count; b++)
                fn.free(blocks[b]);
            for (unsigned b = 0; b < count; b++) {
                bool x = fn.mallocx != NULL && b % 3 == 1;
                blocks[b] = x ? fn.mallocx(size, MALLOCX_ZERO) : fn.calloc(b % 2 ? 1 : size, b % 2 ? size : 1);
                CHECK(is_zero(blocks[b], size), "size %zu block %u by %s", size, b, x ? "mallocx" : "calloc");
                memset(blocks[b], 0x5a, fn.malloc_usable_size(blocks[b]));
            }
            for (unsigned b = 0; b < count; b++)
                fn.free(blocks[b]);
        }
        if (fn.rallocx == NULL || size == 0)
            continue;
        unsigned char *block = fn.mallocx(size, MALLOCX_ZERO);
        size_t old = fn.sallocx(block, 0);
        memset(block, 0x77, old);
        block = fn.rallocx(block, 2 * size + 40, MALLOCX_ZERO);
        size_t now = fn.sallocx(block, 0);
        CHECK(now <= old || is_zero(block + old, now - old), "rallocx from %zu", size);
        memset(block, 0x77, now);
        fn.free(block);
    }
}

static uint64_t random_state = 88172645463325252u;

static uint64_t random_number(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static size_t random_size(void)
{
    uint64_t kind = random_number() % 1000;
    size_t most = kind < 700 ? 1200 : kind < 950 ? 40 * KIB : kind < 997 ? 300 * KIB : 5 * MIB;
    return random_number() % most;
}

/* Live blocks don't overlap: each is filled whole, with a pattern of its own, and looked at again before it goes. */
static void blocks_are_apart(void)
{
    enum { SLOTS = 3000 };
    static struct {
        void *block;
        size_t size;
        unsigned tag, way;
    } slots[SLOTS];
    const char *full = getenv("HAKMEM_TESTS_FULL");
    unsigned long rounds = full != NULL && strcmp(full, "1") == 0 ? 1000000 : 40000;
    for (unsigned long round = 0; round < rounds; round++) {
        unsigned s = (unsigned)(random_number() % SLOTS);
        if (slots[s].block != NULL) {
            CHECK(is_filled(slots[s].block, slots[s].size, slots[s].tag), "%zu bytes at %p", slots[s].size,
                  slots[s].block);
            if (random_number() % 4 == 0) {
                size_t size = random_size() + 1;
                void *moved = resize_by((unsigned)(random_number() % 4), slots[s].block, size);
                size_t kept = size < slots[s].size ? size : slots[s].size;
                CHECK(is_filled(moved, kept, slots[s].tag), "realloc of %zu to %zu", slots[s].size, size);
                slots[s].block = moved;
                slots[s].size = size;
                slots[s].way = 0;
                fill(moved, size, slots[s].tag);
                continue;
            }
            give_back(slots[s].block, &ways[slots[s].way], slots[s].size, (unsigned)random_number());
        }
        slots[s].way = (unsigned)(random_number() % way_count);
        slots[s].size = random_size();
        slots[s].tag = (unsigned)round;
        slots[s].block = ways[slots[s].way].get(slots[s].size);
        CHECK(slots[s].block != NULL, "%s(%zu)", ways[slots[s].way].name, slots[s].size);
        fill(slots[s].block, slots[s].size, slots[s].tag);
    }
    for (unsigned s = 0; s < SLOTS; s++)
        fn.free(slots[s].block);
}

static void tuning(void)
{
    static const struct {
        int parameter, value, result;
    } calls[] = {
        {M_MXFAST, 64, 1},
        {M_MXFAST, -1, 0},
        {M_MXFAST, 161, 0},
        {M_TRIM_THRESHOLD, -1, 1},
        {M_TOP_PAD, 0, 1},
        {M_MMAP_THRESHOLD, 1000, 1},
        {M_MMAP_MAX, 0, 1},
        {M_CHECK_ACTION, 3, 1},
        {M_MMAP_THRESHOLD, 1 << 30, 0},
        {M_PERTURB, 0, 1},
        {M_PERTURB, 165, 0},
        {M_ARENA_TEST, 8, 1},
        {M_ARENA_MAX, 1, 1},
        {-99, 1, 0},
        {12345, 1, 0},
    };
    for
        EACH(i, calls)
        {
            if (own)
                CHECK(fn.mallopt(calls[i].parameter, calls[i].value) == calls[i].result, "mallopt(%d, %d)",
                      calls[i].parameter, calls[i].value);
        }
    enum { MANY = 60000 };
    void **blocks = fn.malloc(MANY * sizeof *blocks);
    for (unsigned i = 0; i < MANY; i++)
        blocks[i] = memset(fn.malloc(1000), 1, 1000);
    for (unsigned i = 0; i < MANY; i++)
        fn.free(blocks[i]);
    fn.free(blocks);
    CHECK(fn.malloc_trim(0) == 1, "60 MB were free");
}

/* The program's last act: each is misuse, to be caught. */
static int misuse(const char *kind)
{
    void *block = fn.malloc(100), *aligned = fn.aligned_alloc(256, 256);
    if (strcmp(kind, "free_sized") == 0)
        fn.free_sized(block, 1000);
    if (strcmp(kind, "free_aligned_sized") == 0)
        fn.free_aligned_sized(aligned, 256, 2000);
    if (strcmp(kind, "bad_alignment") == 0)
        fn.free_aligned_sized(aligned, 100, 256);
    if (strcmp(kind, "sdallocx") == 0)
        fn.sdallocx(block, 5000, 0);
    return 1;
}

int main(int argc, char **argv)
{
    static const struct section sections[] = {
        {"presence", presence},
        {"sizes", every_size},
        {"zero_sizes", zero_sizes},
        {"too_big", too_big_fails},
        {"overflow", products_that_overflow},
        {"bad_alignments", bad_alignments},
        {"alignments", every_alignment},
        {"errno", errno_is_kept},
        {"resizes", resizes_keep_contents},
        {"in_place", xallocx_stays},
        {"zeroed", zeroed_after_use},
        {"apart", blocks_are_apart},
        {"tuning", tuning},
    };
    find_functions();
    prepare();
    if (argc == 3 && strcmp(argv[1], "misuse") == 0)
        return misuse(argv[2]);
    return run_sections(sections, sizeof sections / sizeof sections[0], argv);
}
