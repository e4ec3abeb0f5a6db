/* statistics.c - mallinfo, mallinfo2, malloc_info, malloc_stats and hk_stats tell true numbers, and the same ones. On an
 * allocator other than hakmem only what the glibc manual promises is checked. */
#include "check.h"

#include <hakmem.h>
#include <limits.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static int (*p_hk_stats)(struct hk_stats *, size_t);
static int (*p_hk_class_stats)(unsigned, struct hk_class_stats *, size_t);
static size_t (*p_hk_trim)(void);
static size_t (*p_hk_config_text)(char *, size_t);
static const char *(*p_hk_version)(void);

#define MOST_BLOCKS 20000
static void *blocks[MOST_BLOCKS];

struct expected {
    size_t bytes, huge, huge_bytes; /* as malloc_usable_size tells */
};

/* A block that is a mapping of its own, in hakmem. */
static bool is_huge(size_t usable)
{
    return usable > 2 * MIB;
}

static void expect(struct expected *sum, const void *block)
{
    size_t usable = fn.malloc_usable_size((void *)block);
    if (is_huge(usable)) {
        sum->huge++;
        sum->huge_bytes += usable;
    } else {
        sum->bytes += usable;
    }
}

static void check_identities(struct mallinfo2 m)
{
    CHECK(m.arena == m.uordblks + m.fordblks, "%zu, %zu, %zu", m.arena, m.uordblks, m.fordblks);
    CHECK(m.keepcost <= m.fordblks, "%zu, %zu", m.keepcost, m.fordblks);
    CHECK(m.fsmblks <= m.fordblks, "%zu, %zu", m.fsmblks, m.fordblks);
}

static void check_difference(struct mallinfo2 before, struct mallinfo2 now, const struct expected *sum,
                             const char *when)
{
    check_identities(now);
    if (!own)
        return;
    size_t grown = now.uordblks + now.hblkhd - before.uordblks - before.hblkhd;
    CHECK(grown == sum->bytes + sum->huge_bytes, "%s: %zu, not %zu", when, grown, sum->bytes + sum->huge_bytes);
    if (getenv("HAKMEM_CONF") != NULL)
        return; /* which blocks are mappings of their own depends on it */
    CHECK(now.uordblks - before.uordblks == sum->bytes, "%s: %zu, not %zu", when, now.uordblks - before.uordblks,
          sum->bytes);
    CHECK(now.hblks - before.hblks == sum->huge, "%s: %zu, not %zu", when, now.hblks - before.hblks, sum->huge);
    CHECK(now.hblkhd - before.hblkhd == sum->huge_bytes, "%s: %zu, not %zu", when, now.hblkhd - before.hblkhd,
          sum->huge_bytes);
}

static void mallinfo2_is_exact(void)
{
    static size_t sizes[MOST_SIZES];
    unsigned count = list_sizes(sizes, MOST_SIZES, 5 * MIB);
    struct expected none = {0, 0, 0};
    struct mallinfo2 start = fn.mallinfo2();
    check_difference(start, fn.mallinfo2(), &none, "nothing was done");
    for (unsigned round = 0; round < 3; round++) {
        struct expected sum = none;
        for (unsigned i = 0; i < count; i++)
            expect(&sum, blocks[i] = round == 1 ? fn.calloc(1, sizes[i]) : fn.malloc(sizes[i]));
        check_difference(start, fn.mallinfo2(), &sum, "one of each size");
        sum = none;
        for (unsigned i = 0; i < count; i++)
            expect(&sum, blocks[i] = fn.realloc(blocks[i], sizes[count - 1 - i] + 1));
        check_difference(start, fn.mallinfo2(), &sum, "each resized");
        for (unsigned i = 0; i < count; i++)
            fn.free(blocks[i]);
        check_difference(start, fn.mallinfo2(), &none, "all freed");
    }
    struct expected many = none;
    for (unsigned i = 0; i < MOST_BLOCKS; i++)
        expect(&many, blocks[i] = fn.malloc(100));
    check_difference(start, fn.mallinfo2(), &many, "many of 100 bytes");
    for (unsigned i = 0; i < MOST_BLOCKS; i++)
        fn.free(blocks[i]);
    check_difference(start, fn.mallinfo2(), &none, "those freed");
    void *aligned = fn.aligned_alloc(MIB, 10); /* in a slab or a mapping of its own */
    struct mallinfo2 now = fn.mallinfo2();
    size_t grown = now.uordblks + now.hblkhd - start.uordblks - start.hblkhd;
    CHECK(!own || grown == fn.malloc_usable_size(aligned), "10 bytes at 1 MiB: %zu", grown);
    fn.free(aligned);
    check_difference(start, fn.mallinfo2(), &none, "that freed");
}

static void *allocate_in_thread(void *sum)
{
    for (unsigned i = 0; i < 5000; i++) {
        expect(sum, blocks[i] = fn.malloc(i));
        fn.free(fn.malloc(200));
    }
    return NULL;
}

static void ended_threads_are_counted(void)
{
    struct expected none = {0, 0, 0}, sum = none;
    pthread_t thread;
    for (unsigned round = 0; round < 2; round++) { /* the first lets libc allocate what it keeps for threads */
        struct mallinfo2 start = fn.mallinfo2();
        sum = none;
        pthread_create(&thread, NULL, allocate_in_thread, &sum);
        pthread_join(thread, NULL);
        if (round == 1)
            check_difference(start, fn.mallinfo2(), &sum, "a thread that ended");
        for (unsigned i = 0; i < 5000; i++)
            fn.free(blocks[i]);
        if (round == 1)
            check_difference(start, fn.mallinfo2(), &none, "its blocks freed by another");
    }
}

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static void mallinfo_saturates(void)
{
    void *huge[4];
    struct mallinfo2 wide = fn.mallinfo2();
    struct mallinfo narrow = fn.mallinfo();
    CHECK((size_t)narrow.uordblks == wide.uordblks && (size_t)narrow.arena == wide.arena, "%d", narrow.uordblks);
    CHECK((size_t)narrow.fordblks == wide.fordblks && (size_t)narrow.ordblks == wide.ordblks, "%d", narrow.fordblks);
    CHECK((size_t)narrow.hblkhd == wide.hblkhd && (size_t)narrow.keepcost == wide.keepcost, "%d", narrow.hblkhd);
    for (unsigned i = 0; i < 4; i++) {
        huge[i] = fn.malloc(700 * MIB);
        CHECK(huge[i] != NULL, "700 MiB");
    }
    wide = fn.mallinfo2();
    narrow = fn.mallinfo();
    CHECK(wide.hblkhd >= 2800 * MIB, "%zu", wide.hblkhd);
    if (own)
        CHECK(narrow.hblkhd == INT_MAX && narrow.hblks == (int)wide.hblks, "%d", narrow.hblkhd);
    for (unsigned i = 0; i < 4; i++)
        fn.free(huge[i]);
}

static void sums_agree(void)
{
    struct hk_stats total;
    struct hk_class_stats c;
    uint64_t allocs = 0, frees = 0, misses = 0, live_blocks = 0, live_bytes = 0, free_blocks = 0;
    unsigned classes = 0;
    uint32_t last_size = 0;
    CHECK(p_hk_stats(&total, sizeof total) == 0, "hk_stats");
    CHECK(total.version == HK_STATS_VERSION && total.length == sizeof total, "%u, %u", total.version, total.length);
    CHECK(total.mapped_bytes == total.live_bytes + total.free_bytes + total.meta_bytes, "mapped %lu",
          (unsigned long)total.mapped_bytes);
    CHECK(total.mapped_peak_bytes >= total.mapped_bytes && total.trimmable_bytes <= total.free_bytes, "trimmable %lu",
          (unsigned long)total.trimmable_bytes);
    for (; p_hk_class_stats(classes, &c, sizeof c) == 0; classes++) {
        CHECK(c.class_idx == classes && c.length == sizeof c, "class %u", classes);
        CHECK(c.block_size > last_size || c.block_size == 0, "class %u: %u", classes, c.block_size);
        CHECK(c.block_size == 0 || c.live_bytes == c.live_blocks * c.block_size, "class %u: %lu blocks, %lu bytes",
              classes, (unsigned long)c.live_blocks, (unsigned long)c.live_bytes);
        CHECK(c.misses <= c.allocs, "class %u", classes);
        last_size = c.block_size;
        allocs += c.allocs;
        frees += c.frees;
        misses += c.misses;
        live_blocks += c.live_blocks;
        live_bytes += c.live_bytes;
        free_blocks += c.free_blocks;
    }
    CHECK(errno == EINVAL && classes > 100, "class %u: errno %d", classes, errno);
    CHECK(c.block_size == 0, "the last class has blocks of %u bytes", c.block_size);
    CHECK(allocs == total.allocs && frees == total.frees && misses == total.misses, "%lu of %lu", (unsigned long)allocs,
          (unsigned long)total.allocs);
    CHECK(live_blocks == total.live_blocks && live_bytes == total.live_bytes && free_blocks == total.free_blocks,
          "%lu of %lu", (unsigned long)live_bytes, (unsigned long)total.live_bytes);
    CHECK(total.live_blocks == total.allocs - total.frees, "%lu", (unsigned long)total.live_blocks);
    struct mallinfo2 m = fn.mallinfo2();
    CHECK(m.uordblks + m.hblkhd == total.live_bytes && m.fordblks == total.free_bytes, "%zu", m.uordblks);
    CHECK(m.hblks == total.huge_blocks && m.keepcost == total.trimmable_bytes, "%zu", m.hblks);
}

static void failures_are_counted(void)
{
    struct hk_stats before, after;
    struct hk_class_stats last;
    void *out;
    p_hk_stats(&before, sizeof before);
    fn.malloc(PTRDIFF_MAX);
    fn.calloc(SIZE_MAX, 2);
    fn.posix_memalign(&out, 64, PTRDIFF_MAX);
    fn.aligned_alloc(64, SIZE_MAX);
    fn.pvalloc(SIZE_MAX);
    fn.aligned_alloc(3, 100); /* EINVAL is not for want of memory */
    p_hk_stats(&after, sizeof after);
    CHECK(after.alloc_fails - before.alloc_fails == 5, "%lu", (unsigned long)(after.alloc_fails - before.alloc_fails));
    CHECK(after.live_blocks == before.live_blocks, "a failure left a block");
    for (unsigned i = 0; p_hk_class_stats(i, &last, sizeof last) == 0; i++)
        continue;
    CHECK(last.block_size == 0 && last.alloc_fails >= 5, "%lu", (unsigned long)last.alloc_fails);
}

/* A caller built for another length of the struct gets its part, and zeros beyond. */
static void snapshots_of_any_length(void)
{
    struct {
        struct hk_stats known;
        uint64_t later[4];
    } longer;
    struct hk_stats shorter;
    memset(&longer, 0xff, sizeof longer);
    memset(&shorter, 0xff, sizeof shorter);
    CHECK(p_hk_stats(&longer.known, sizeof longer) == 0 && is_zero(longer.later, sizeof longer.later), "longer");
    CHECK(longer.known.length == sizeof longer.known, "%u", longer.known.length);
    CHECK(p_hk_stats(&shorter, 32) == 0 && shorter.allocs != UINT64_MAX, "shorter");
    CHECK(shorter.misses == UINT64_MAX, "written beyond its end");
    errno = 0;
    CHECK(p_hk_stats(&shorter, 7) == -1 && errno == EINVAL, "errno %d", errno);
}

static void public_functions(void)
{
    if (!own)
        return;
    p_hk_stats = (int (*)(struct hk_stats *, size_t))find("hk_stats");
    p_hk_class_stats = (int (*)(unsigned, struct hk_class_stats *, size_t))find("hk_class_stats");
    p_hk_trim = (size_t(*)(void))find("hk_trim");
    p_hk_config_text = (size_t(*)(char *, size_t))find("hk_config_text");
    p_hk_version = (const char *(*)(void))find("hk_version");
    char text[1024], version[64];
    snprintf(version, sizeof version, "%d.%d.%d", HK_VERSION_MAJOR, HK_VERSION_MINOR, HK_VERSION_PATCH);
    CHECK(strcmp(p_hk_version(), version) == 0 && strcmp(HK_VERSION, version) == 0, "%s", p_hk_version());
    size_t length = p_hk_config_text(text, sizeof text);
    CHECK(length == strlen(text) && strstr(text, "decay_ms:") != NULL, "%s", text);
    CHECK(p_hk_config_text(text, 10) == 9 && strlen(text) == 9, "cut: %s", text);

    for (unsigned i = 0; i < MOST_BLOCKS; i++)
        blocks[i] = memset(fn.malloc(500 + i % 700), 1, 500);
    sums_agree();
    for (unsigned i = 0; i < MOST_BLOCKS; i += 2)
        fn.free(blocks[i]);
    sums_agree();
    for (unsigned i = 1; i < MOST_BLOCKS; i += 2)
        fn.free(blocks[i]);
    sums_agree();
    struct hk_stats before, after;
    p_hk_stats(&before, sizeof before);
    size_t given = p_hk_trim();
    p_hk_stats(&after, sizeof after);
    CHECK(given >= 4 * MIB, "%zu bytes of 17 MB", given);
    CHECK(after.purged_bytes + before.mapped_bytes >= before.purged_bytes + after.mapped_bytes + 4 * MIB, "not so: %zu",
          given);
    CHECK(after.live_bytes == before.live_bytes, "trimming changed what is live");
    fn.free(memset(fn.malloc(64 * MIB), 1, 64 * MIB));
    p_hk_stats(&before, sizeof before);
    given = p_hk_trim();
    p_hk_stats(&after, sizeof after);
    CHECK(before.mapped_bytes - after.mapped_bytes == 0 || given >= before.mapped_bytes - after.mapped_bytes,
          "%zu of %lu bytes are told", given, (unsigned long)(before.mapped_bytes - after.mapped_bytes));
    failures_are_counted();
    snapshots_of_any_length();
}

/* ---- malloc_info: well-formed, and its total the sum of its lines ---- */

static char document[256 * 1024];

static bool name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/* Elements nest and close, attributes are name="value" without markup; nothing but white space between elements. */
static bool is_well_formed(const char *p)
{
    char open[16][32];
    unsigned depth = 0, roots = 0;
    for (;;) {
        while (*p == ' ' || *p == '\n')
            p++;
        if (*p == '\0')
            return depth == 0 && roots == 1;
        if (*p++ != '<')
            return false;
        bool closing = *p == '/';
        p += closing;
        char name[32] = "";
        for (unsigned n = 0; name_char(*p) && n < 31; p++)
            name[n++] = *p;
        if (name[0] == '\0' || (depth == 0 && (closing || roots++ != 0)))
            return false;
        while (*p == ' ') {
            p++;
            const char *start = p;
            while (name_char(*p))
                p++;
            if (p == start || p[0] != '=' || p[1] != '"')
                return false;
            p += 2 + strcspn(p + 2, "\"<&");
            if (*p++ != '"')
                return false;
        }
        bool empty = *p == '/';
        p += empty;
        if (*p++ != '>' || (closing && (empty || strcmp(open[--depth], name) != 0)))
            return false;
        if (!closing && !empty) {
            if (depth == 16)
                return false;
            strcpy(open[depth++], name);
        }
    }
}

static uint64_t attribute(const char *element, const char *name)
{
    char wanted[64];
    snprintf(wanted, sizeof wanted, " %s=\"", name);
    const char *end = element != NULL ? strchr(element, '>') : NULL,
               *found = end != NULL ? strstr(element, wanted) : NULL;
    return found != NULL && found < end ? strtoull(found + strlen(wanted), NULL, 10) : UINT64_MAX;
}

static void check_document_sums(void)
{
    uint64_t bytes = 0, count = 0, allocs = 0;
    for (const char *p = document; (p = strstr(p, "<class ")) != NULL; p++) {
        bytes += attribute(p, "live_bytes");
        count += attribute(p, "live_blocks");
        allocs += attribute(p, "allocs");
    }
    const char *live = strstr(document, "<total type=\"live\"");
    CHECK(attribute(live, "size") == bytes && attribute(live, "count") == count && bytes != 0, "%lu",
          (unsigned long)bytes);
    CHECK(attribute(strstr(document, "<operations"), "allocs") == allocs, "%lu", (unsigned long)allocs);
    uint64_t mapped = attribute(strstr(document, "<system type=\"current\""), "size");
    uint64_t unused = attribute(strstr(document, "<total type=\"free\""), "size");
    uint64_t meta = attribute(strstr(document, "<system type=\"meta\""), "size");
    CHECK(mapped == bytes + unused + meta, "%lu = %lu + %lu + %lu", (unsigned long)mapped, (unsigned long)bytes,
          (unsigned long)unused, (unsigned long)meta);
}

static void malloc_info_is_xml(void)
{
    FILE *file = tmpfile();
    CHECK(file != NULL, "tmpfile");
    CHECK(fn.malloc_info(0, file) == 0, "malloc_info");
    rewind(file);
    document[fread(document, 1, sizeof document - 1, file)] = '\0';
    CHECK(strncmp(document, "<malloc version=\"1\"", 19) == 0, "%.40s", document);
    CHECK(is_well_formed(document), "%s", document);
    CHECK(!is_well_formed("<a><b></a></b>") && !is_well_formed("<a x=1/>") && !is_well_formed("<a>"),
          "the test itself");
    if (own)
        check_document_sums();
    errno = 0;
    int result = fn.malloc_info(1, file);
    if (own)
        CHECK(result == -1 && errno == EINVAL, "%d, errno %d", result, errno);
    else
        CHECK(result != 0, "%d", result);
    fclose(file);
    FILE *full = fopen("/dev/full", "w");
    if (full == NULL || !own)
        return;
    setvbuf(full, NULL, _IONBF, 0);
    errno = 0;
    CHECK(fn.malloc_info(0, full) == -1 && errno == ENOSPC, "errno %d", errno);
    fclose(full);
}

static void malloc_stats_is_readable(void)
{
    FILE *file = tmpfile();
    int saved = dup(2);
    fflush(stderr);
    dup2(fileno(file), 2);
    struct mallinfo2 before = fn.mallinfo2();
    fn.malloc_stats();
    struct mallinfo2 after = fn.mallinfo2();
    dup2(saved, 2);
    close(saved);
    rewind(file);
    document[fread(document, 1, sizeof document - 1, file)] = '\0';
    fclose(file);
    CHECK(document[0] != '\0', "empty");
    if (!own)
        return;
    CHECK(before.uordblks == after.uordblks, "it allocated");
    const char *live = strstr(document, "\nlive bytes ");
    CHECK(live != NULL && strtoull(live + 11, NULL, 10) == before.uordblks + before.hblkhd, "%.200s",
          live != NULL ? live : document);
    CHECK(strstr(document, "hits %") != NULL, "%.200s", document);
    for (const char *line = document; *line != '\0'; line += strcspn(line, "\n") + 1)
        CHECK(strcspn(line, "\n") <= 120 && strchr(line, '\n') != NULL, "%.130s", line);
}

/* What the parent held is live in the child, which then counts for itself. */
static void a_child_counts_on(void)
{
    struct expected sum = {0, 0, 0}, none = sum;
    struct mallinfo2 start = fn.mallinfo2();
    int status = 0;
    for (unsigned i = 0; i < 3000; i++)
        expect(&sum, blocks[i] = fn.malloc(i * 20));
    pid_t child = fork();
    if (child == 0) {
        unsigned long before = failures;
        check_difference(start, fn.mallinfo2(), &sum, "in the child");
        for (unsigned i = 0; i < 3000; i++)
            fn.free(blocks[i]);
        check_difference(start, fn.mallinfo2(), &none, "in the child, all freed");
        _exit(failures != before);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0, "the child ended with %x", (unsigned)status);
    check_difference(start, fn.mallinfo2(), &sum, "in the parent");
    for (unsigned i = 0; i < 3000; i++)
        fn.free(blocks[i]);
    check_difference(start, fn.mallinfo2(), &none, "in the parent, all freed");
}

static bool stop; /* atomic */

static void *allocate_until_told(void *unused)
{
    void *mine[500] = {NULL};
    (void)unused;
    for (unsigned i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
        unsigned slot = i * 7919u % 500;
        fn.free(mine[slot]);
        mine[slot] = fn.malloc(i * 31 % (i % 100 == 0 ? 200000 : 3000));
    }
    for (unsigned i = 0; i < 500; i++)
        fn.free(mine[i]);
    return NULL;
}

static void identities_hold_meanwhile(void)
{
    pthread_t threads[3];
    FILE *nowhere = fopen("/dev/null", "w");
    struct hk_stats total;
    for (unsigned t = 0; t < 3; t++)
        pthread_create(&threads[t], NULL, allocate_until_told, NULL);
    for (unsigned i = 0; i < 3000; i++) {
        if (own)
            check_identities(fn.mallinfo2());
        if (i % 50 == 0)
            CHECK(fn.malloc_info(0, nowhere) == 0, "malloc_info");
        if (p_hk_stats == NULL)
            continue;
        p_hk_stats(&total, sizeof total);
        CHECK(total.mapped_bytes == total.live_bytes + total.free_bytes + total.meta_bytes, "mapped %lu",
              (unsigned long)total.mapped_bytes);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (unsigned t = 0; t < 3; t++)
        pthread_join(threads[t], NULL);
    fclose(nowhere);
}

int main(int argc, char **argv)
{
    static const struct section sections[] = {
        {"exact", mallinfo2_is_exact},    {"threads", ended_threads_are_counted},
        {"fork", a_child_counts_on},      {"meanwhile", identities_hold_meanwhile},
        {"saturate", mallinfo_saturates}, {"public", public_functions},
        {"info", malloc_info_is_xml},     {"stats", malloc_stats_is_readable},
    };
    static char out[BUFSIZ], error[BUFSIZ];
    (void)argc;
    setvbuf(stdout, out, _IOLBF, sizeof out); /* so that the streams allocate nothing in between */
    setvbuf(stderr, error, _IOLBF, sizeof error);
    find_functions();
    return run_sections(sections, sizeof sections / sizeof sections[0], argv);
}
